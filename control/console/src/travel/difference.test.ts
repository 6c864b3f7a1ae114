import { expect, test } from "vitest";
import type { Batch } from "../live/columns";
import { csvOf, differences, filtered, ordered } from "./difference";
import type { PointInfo } from "../wire";

function point(id: number, name: string, low: number | null = null, high: number | null = null): PointInfo {
  const [twin, property] = name.split(".") as [string, string];
  const free = { select: false, approvals: 0, approver: "", preflight: "off", title: "", names: [] };
  return { id, name, twin, property, type: "double", unit: "m", device: "scada", writable: false, low, high, ...free };
}

function batch(rows: [id: number, value: number, quality: number][], text: Record<string, string> = {}): Batch {
  const zeros = new Float64Array(rows.length);
  return {
    length: rows.length, point: Uint32Array.from(rows, (r) => r[0]), value: Float64Array.from(rows, (r) => r[1]),
    quality: Uint32Array.from(rows, (r) => r[2]), source: zeros, received: zeros, text,
  };
}

const POINTS = [point(0, "tank_1.level", 0, 10), point(1, "pump.speed"), point(2, "plc.state"), point(3, "tank_2.level"), point(4, "x.same"), point(5, "x.nan")];
const A = batch([[0, 3, 0], [1, 50, 0], [2, NaN, 0], [4, 7, 0], [5, NaN, 0]], { 2: "online" });
const B = batch([[0, 4, 0], [1, 50, 0x80000000], [2, NaN, 0], [3, 1, 0], [4, 7, 0], [5, NaN, 0]], { 2: "broken" });
const found = differences(POINTS, A, B);

test("what differs in value, quality or text is told with its size, and nothing else", () => {
  expect(found.map((d) => [d.point.name, d.what, d.change])).toEqual([
    ["tank_1.level", "value", 1], ["pump.speed", "quality", 0], ["plc.state", "text", null], ["tank_2.level", "first read", null],
  ]);
  expect(found[0]!.share).toBeCloseTo(0.1);
  expect(differences(POINTS, B, A).map((d) => d.what)).toContain("not yet read");
});

test("the largest comes first, other things before it; by name on request", () => {
  expect(ordered(found, "share").map((d) => d.point.id)).toEqual([2, 3, 0, 1]);
  expect(ordered(found, "point").map((d) => d.point.id)).toEqual([2, 1, 0, 3]);
  expect(filtered(found, "tank  VALUE").map((d) => d.point.id)).toEqual([0]);
});

test("a spreadsheet gets plain numbers and no formulas", () => {
  const odd = [{ ...found[0]!, point: { ...point(0, "=cmd.x"), unit: 'a"b' } }];
  const lines = csvOf(odd, 0, 60_000).trimEnd().split("\r\n");
  expect(lines[0]).toContain("1970-01-01T00:01:00.000Z");
  expect(lines[1]).toMatch(/^'=cmd\.x,=?/);
  expect(lines[1]).toContain('"a""b",value,3,4,1,');
});
