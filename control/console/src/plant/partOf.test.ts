import { expect, test } from "vitest";
import { pipesOf } from "./drawing";
import { partsOf, subtree, upwards, wholes } from "./partOf";
import type { PlantInfo, TwinInfo } from "../wire";

const relationships = [["site", "contains", "hall"], ["hall", "hasPart", "pump"], ["pump", "parts", "motor"], ["pump", "feeds", "tank"]]
  .map(([source, name, target]) => ({ source: source!, name: name!, target: target! }));
const twins = ["site", "hall", "pump", "motor", "tank"].map((id) => ({ id, x: 0, y: 0 }) as TwinInfo);
const PLANT = { relationships, twins } as PlantInfo;

test("what is part of what is one tree, whatever the relationship is called", () => {
  const wholeOf = wholes(PLANT);
  expect([...subtree("hall", wholeOf)]).toEqual(["hall", "pump", "motor"]);
  expect([...upwards("motor", wholeOf)]).toEqual(["motor", "pump", "hall", "site"]);
  expect([...partsOf(PLANT)].map(([whole, of]) => [whole, of.map((t) => t.id).join()])).toEqual([["site", "hall"], ["hall", "pump"], ["pump", "motor"]]);
});

test("a knot of parts ends", () => {
  expect([...upwards("a", new Map([["a", "b"], ["b", "a"]]))]).toEqual(["a", "b"]);
});

test("no pipe is drawn to a part", () => {
  expect(pipesOf(PLANT).map((p) => p.key)).toEqual(["pump tank"]);
});
