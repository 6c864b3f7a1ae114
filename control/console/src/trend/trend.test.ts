import { expect, test } from "vitest";
import type { AlarmStep, CommandRecord, ForecastRecord, PointInfo, Trend } from "../wire";
import { aheadBand, bandOf, choicesOf, heldShare, rateOf, toldOf } from "./foretold";
import { grouped, scalesOf } from "./groups";
import { happenings, marksOf } from "./happenings";
import { csvOf } from "./sheet";
import { fieldOf, momentOf, moved, noteSpan, readSpan, spanMistake, windowOf, zoomed } from "./span";
import { doubts, rowsOf } from "./stretches";

const GOOD = 0;
const UNCERTAIN = 0x40000000;
const BAD = 0x808c0000;

function point(name: string, unit = "m", type = "double"): PointInfo {
  const [twin, property] = name.split(".");
  return { id: 1, name, twin, property, type, unit, names: [] } as unknown as PointInfo;
}

function trend(time: number[], value: (number | null)[]): Trend {
  return { point: "t.x", unit: "m", time, value, quality: value.map(() => 0), tier: "raw", whole: true };
}

test("a span is kept in the address and read back; nonsense is the last five minutes", () => {
  for (const span of [{ seconds: 3600 }, { from: 1_000_000, to: 2_000_000 }]) {
    expect(readSpan(new URLSearchParams(noteSpan(span)))).toEqual(span);
  }
  for (const words of ["", "range=0", "range=x", "from=5&to=4", "from=1&to=9e15"]) {
    expect(readSpan(new URLSearchParams(words))).toEqual({ seconds: 300 });
  }
  expect(windowOf({ seconds: 60 }, 100_000, 5_000)).toEqual([40_000, 105_000]);
});

test("zooming keeps what stands under the pointer, and stops at a second and at a year", () => {
  expect(zoomed([0, 100_000], 0.5, 0.25)).toEqual({ from: 12_500, to: 62_500 });
  expect(zoomed([0, 1_000], 0.5)).toEqual({ from: 0, to: 1_000 });
  expect(zoomed([0, 366 * 86_400_000], 2)).toEqual({ from: 0, to: 366 * 86_400_000 });
  expect(moved([0, 100], -0.25)).toEqual({ from: -25, to: 75 });
});

test("moments of fields are local time, and mistakes are said", () => {
  expect(momentOf(fieldOf(1_700_000_000_000))).toBe(1_700_000_000_000);
  expect(momentOf("")).toBe(null);
  expect(spanMistake(null, 5)).toContain("both");
  expect(spanMistake(5_000, 5_500)).toContain("second");
  expect(spanMistake(5_000, 6_000)).toBe("");
});

test("points of one unit share a chart, two units at most are overlaid", () => {
  const points = [point("a.level"), point("a.flow", "m3/h"), point("b.level"), point("b.on", "", "boolean")];
  expect(grouped(points, "each")).toHaveLength(4);
  expect(grouped(points, "unit").map((c) => c.map((p) => p.name))).toEqual([["a.level", "b.level"], ["a.flow"], ["b.on"]]);
  const two = grouped(points, "two");
  expect(two.map((c) => c.map((p) => p.name))).toEqual([["a.level", "a.flow", "b.level"], ["b.on"]]);
  expect(scalesOf(two[0]!)).toEqual(["m", "m3/h"]);
});

test("alarms and commands of the twins shown are signs; what would overlap is one", () => {
  const step = (n: number, time: number, name: string, twin = "tank_1"): AlarmStep =>
    ({ n, time, step: name, twin, alarm: "tank_1.level high", priority: "high" }) as AlarmStep;
  const command = { id: "c", point: "tank_1.valve", value: 1, status: "CONFIRMED", author: "anna", transitions: [{ time: 52 }] };
  const found = happenings(
    [step(1, 10, "active"), step(2, 50, "cleared"), step(3, 60, "acknowledged"), step(4, 61, "active", "tank_2")],
    [command as unknown as CommandRecord], new Set(["tank_1"]), [0, 100],
  );
  expect(found.map((h) => [h.time, h.sign])).toEqual([[10, "came"], [50, "cleared"], [52, "command"]]);
  const marks = marksOf(found, [0, 100], 100, 10);
  expect(marks.map((m) => [m.x, m.sign, m.happenings.length])).toEqual([[10, "came", 1], [50, "several", 2]]);
});

test("a stretch of doubt ends at the next good reading, and one quality is one stretch", () => {
  const samples = { time: [0, 10, 20, 30, 40], value: [1, null, null, 2, null], quality: [GOOD, UNCERTAIN, UNCERTAIN, GOOD, BAD] };
  expect(doubts(samples, 50)).toEqual([
    { from: 10, to: 30, severity: 1, words: "uncertain" },
    { from: 40, to: 50, severity: 2, words: "bad: sensor failure" },
  ]);
});

test("as a table each stretch has its extremes, and a value holds until another comes", () => {
  const rows = rowsOf({ time: [1, 2, 3, 35], value: [5, 9, 4, null], quality: [0, 0, 0, BAD] }, [0, 40], 4);
  expect(rows.map((r) => [r.low, r.high, r.last])).toEqual([[4, 9, 4], [4, 4, 4], [4, 4, 4], [4, 4, null]]);
  expect(rows[3]!.doubt).toContain("sensor failure");
});

test("forecasts of a model are found by their names and moved to the time they speak of", () => {
  const level = point("tank_1.level");
  const names = ["soon_level_10min", "soon_level_10min_low", "soon_level_10min_high", "soon_level_30s", "soon_inflow_10min"];
  const told = toldOf(level, [level, ...names.map((n) => point(`tank_1.${n}`))]);
  expect(told).toEqual([{ row: "soon", seconds: 600, value: "tank_1.soon_level_10min", low: "tank_1.soon_level_10min_low", high: "tank_1.soon_level_10min_high" }]);
  expect(choicesOf(told)).toEqual(["soon+600"]);
  const band = bandOf(trend([1000, 2000], [5, 6]), trend([1000, 2000], [4, 5]), trend([1000, 2000], [6, null]), 600);
  expect(band).toEqual({ time: [601, 602], middle: [5, 6], low: [4, 5], high: [6, null] });
  expect(heldShare(band, () => 9, 700)).toEqual({ held: 0, of: 1 });
  expect(heldShare(band, () => 4.5, 600)).toEqual({ held: 0, of: 0 });
});

test("the look-ahead is drawn on the wall's clock at the pace of the plant's", () => {
  const forecast = { made_at: 10_000, times_s: [0, 60], fans: { "t.x": [[1, 1], [2, 2], [3, 3], [4, 4], [5, 5]] } };
  expect(aheadBand(forecast as unknown as ForecastRecord, "t.x", 60)).toEqual({ time: [10, 11], low: [1, 1], middle: [3, 3], high: [5, 5] });
  expect(aheadBand(forecast as unknown as ForecastRecord, "t.y", 60)).toBe(null);
  expect(rateOf(trend([0, 1000, 3000], [0, null, 180]))).toBe(60);
  expect(rateOf(trend([0, 1000], [5, 5]))).toBe(null);
});

test("a spreadsheet says of each row whether it is raw", () => {
  const line = { point: "t.x", unit: "m", time: [1, 2, 99], value: [1.5, null, 3], quality: [0, BAD, 0] };
  const csv = csvOf([{ ...line, whole: true, tier: "raw" }, { ...line, unit: 'a,"b"', whole: false, tier: "1min" }], [0, 5_000]);
  expect(csv.split("\r\n")).toEqual([
    "time_utc,point,value,unit,quality,data",
    "1970-01-01T00:00:01.000Z,t.x,1.5,m,good,raw",
    "1970-01-01T00:00:02.000Z,t.x,,m,bad: sensor failure,raw",
    '1970-01-01T00:00:01.000Z,t.x,1.5,"a,""b""",good,decimated (1min)',
    '1970-01-01T00:00:02.000Z,t.x,,"a,""b""",bad: sensor failure,decimated (1min)',
    "",
  ]);
});
