import { expect, test } from "vitest";
import type { Batch } from "./columns";
import { Look } from "./freshness";
import { PointTable } from "./points";
import type { PointInfo } from "../wire";

const NOW = 1_000_000;

function point(id: number, name: string): PointInfo {
  const [twin, property] = name.split(".") as [string, string];
  const free = { select: false, approvals: 0, approver: "", preflight: "off", title: "", names: [] };
  return { id, name, twin, property, type: "double", unit: "m", device: "scada", writable: false, low: null, high: null, ...free };
}

function batch(rows: [id: number, value: number, quality: number][], text: Record<string, string> = {}): Batch {
  return {
    length: rows.length,
    point: Uint32Array.from(rows, (r) => r[0]),
    value: Float64Array.from(rows, (r) => r[1]),
    quality: Uint32Array.from(rows, (r) => r[2]),
    source: new Float64Array(rows.length).fill(NOW),
    received: new Float64Array(rows.length).fill(NOW),
    text,
  };
}

test("a delta changes only what it names, a snapshot forgets the rest", () => {
  const table = new PointTable([point(0, "tank_1.level"), point(1, "tank_2.level")]);
  table.apply(batch([[0, 1, 0], [1, 2, 0]]), true);
  table.apply(batch([[1, 3, 0]]), false);
  expect([...table.value]).toEqual([1, 3]);
  table.apply(batch([[0, 5, 0]]), true);
  expect([...table.value]).toEqual([5, NaN]);
  table.judge(NOW);
  expect(table.look[1]).toBe(Look.none);
});

test("a point that the plant does not have is left out", () => {
  const table = new PointTable([point(0, "tank_1.level")]);
  table.apply(batch([[9, 1, 0]], { "9": "x" }), false);
  expect(table.value.length).toBe(1);
  expect(table.text.size).toBe(0);
});

test("values of poor quality are counted as such and are gaps in the spark", () => {
  const table = new PointTable([point(0, "tank_1.level"), point(1, "tank_2.level")]);
  table.apply(batch([[0, 1, 0], [1, 2, 0x80050000]]), true);
  table.judge(NOW);
  expect(table.tally()).toEqual([1, 0, 0, 1, 0]);
  expect([...table.spark(0).value]).toEqual([1]);
  expect([...table.spark(1).value]).toEqual([NaN]);
});

test("a value kept from before a restart shows its age by source time, not as missing", () => {
  const table = new PointTable([point(0, "tank_1.level")]);
  const kept = batch([[0, 4, 0x40900000]]);
  kept.received.fill(NaN);
  kept.source.fill(NOW - 60_000);
  table.apply(kept, true);
  table.judge(NOW);
  expect(table.look[0]).toBe(Look.uncertain);
  expect(table.heard(0)).toBe(NOW - 60_000);
});

test("an edited plant keeps the values it had and shows those that came before it was fetched", () => {
  const older = new PointTable([point(0, "tank_1.level"), point(1, "tank_2.level")]);
  older.apply(batch([[0, 1, 0], [1, 2, 0]]), true);
  older.apply(batch([[0, 3, 0], [3, 7, 0], [4, 8, 0]], { "3": "seven" }), false);
  const table = new PointTable([point(0, "tank_1.level"), point(2, "valve.turns"), point(3, "valve.serial")]);
  table.takeOver(older);
  expect([...table.value]).toEqual([3, NaN, NaN, 7]);
  expect(table.text.get(3)).toBe("seven");
  expect([...table.spark(0).value]).toEqual([1, 3]);
});
