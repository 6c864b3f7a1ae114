import { expect, test } from "vitest";
import { around, linesOf, near, nodesOf, pathOf, seen, VISIBLE_MOST, waysOf } from "./graph";
import type { GraphPicture, PlantInfo } from "../wire";

/** Two stations, each with two pumps, and a tank that both feed. */
const TWINS = ["a", "a1", "a2", "b", "b1", "b2", "tank"];
const PICTURE: GraphPicture = {
  revision: "1", width: 10, height: 10, twins: TWINS, parent: [-1, 0, 0, -1, 3, 3, -1],
  x: TWINS.map(() => 0), y: TWINS.map(() => 0), w: [4, 1, 1, 4, 1, 1, 1], h: TWINS.map(() => 1),
};
const relationships = [["a", "contains", "a1"], ["a1", "feeds", "a2"], ["a2", "feeds", "tank"], ["b1", "feeds", "tank"], ["b2", "feeds", "tank"]]
  .map(([source, name, target]) => ({ source: source!, name: name!, target: target! }));
const PLANT = { relationships } as PlantInfo;
const nodes = nodesOf(PICTURE);
const rowOf = new Map(TWINS.map((id, row) => [id, row]));

test("a closed box stands for all that is in it, with their number, and its lines are theirs", () => {
  const all = seen(nodes, new Map(), 1);
  expect(all.rows.map((r) => TWINS[r])).toEqual(["a", "b", "tank"]);
  expect(nodes[0]!.count).toBe(2);
  expect(linesOf(PLANT, rowOf, all.stands)).toEqual([{ from: 0, to: 6, count: 1, names: "feeds" }, { from: 3, to: 6, count: 2, names: "feeds" }]);
});

test("boxes open by hand, and by themselves when they are near", () => {
  const one = seen(nodes, new Map([["a", true]]), 1);
  expect(one.rows.map((r) => TWINS[r])).toEqual(["a", "b", "tank", "a1", "a2"]);
  expect(linesOf(PLANT, rowOf, one.stands).map((l) => `${TWINS[l.from]} ${TWINS[l.to]}`)).toEqual(["a1 a2", "a2 tank", "b tank"]);
  expect(seen(nodes, new Map([["b", false]]), 200).rows.map((r) => TWINS[r])).toEqual(["a", "b", "tank", "a1", "a2"]);
});

test("what is the whole plant opens by itself, and never more than a screen can show", () => {
  const count = 3 * VISIBLE_MOST;
  const twins = ["plant", "big", ...Array.from({ length: count }, (_, i) => `t${i}`)];
  const ones = twins.map(() => 1);
  const large = nodesOf({ revision: "", width: 1, height: 1, twins, parent: twins.map((_, i) => Math.min(i - 1, 1)), x: ones, y: ones, w: ones, h: ones });
  expect(seen(large, new Map(), 10_000).rows.map((r) => twins[r])).toEqual(["plant", "big"]);
  expect(large[1]!.count).toBe(count);
});

test("neighbours are counted in hops along, against or both ways of the flow", () => {
  const ways = waysOf(PLANT);
  expect([...near(ways, "a2", 1, "both")].sort()).toEqual(["a1", "a2", "tank"]);
  expect([...near(ways, "a2", 1, "up")].sort()).toEqual(["a1", "a2"]);
  expect([...near(ways, "a2", 9, "down")].sort()).toEqual(["a2", "tank"]);
  expect(near(ways, "a1", 3, "both").size).toBe(5);
});

test("a path follows the flow if it can, else goes against it, and may not be", () => {
  const ways = waysOf(PLANT);
  expect(pathOf(ways, "a1", "tank")).toEqual(["a1", "a2", "tank"]);
  expect(pathOf(ways, "tank", "a1")).toEqual(["tank", "a2", "a1"]);
  expect(pathOf(ways, "a1", "b1")).toEqual(["a1", "a2", "tank", "b1"]);
  expect(pathOf(ways, "a1", "a")).toEqual([]);
  expect(around(nodes, 1)).toEqual(["a"]);
});
