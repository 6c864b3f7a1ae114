import { expect, test } from "vitest";
import { Series } from "../live/series";
import type { PointInfo, Trend } from "../wire";
import { plottedOf, type Plotted } from "./chartOptions";
import { keyOf, legendOf, titleOf } from "./pictureWords";

const UNCERTAIN = 0x40000000;

function plot(name: string, unit: string, quality = 0, type = "double"): Plotted {
  const point = { id: 1, name, twin: name.split(".")[0], type, unit, names: [] } as unknown as PointInfo;
  const series = new Series();
  series.load({ point: name, unit, time: [1_000], value: [quality === 0 ? 1 : null], quality: [quality], tier: "raw", whole: true } as Trend);
  return plottedOf({ point, series, yesterday: null, band: null }, 2);
}

test("a saved chart names its lines with units, colours and dashes, and the units of both scales", () => {
  const { lines, units } = legendOf([plot("a.level", "m"), plot("b.level", "m"), plot("p.on", "", 0, "boolean")]);
  expect(lines.map((l) => l.words)).toEqual(["a.level, m", "b.level, m", "p.on"]);
  expect(new Set(lines.map((l) => l.dash.join())).size).toBe(3);
  expect(units).toEqual(["m", "state"]);
});

test("what lies beside a line is said, too", () => {
  const line = { ...plot("a.level", "m"), yesterday: new Series(), band: { time: [], middle: [], low: [], high: [] } };
  line.series.whole = false;
  expect(legendOf([line]).lines[0]!.words).toBe("a.level, m; band: forecast, its middle dotted; nothing kept of yesterday; min/max");
});

test("the title has plant, both ends with their dates, and the zone", () => {
  expect(titleOf("Net3", [0, 3_600_000], "UTC+01:00 (Europe/Berlin)")).toMatch(/^Net3, 19\d\d-.+ … 19\d\d-.+, UTC\+01:00 \(Europe\/Berlin\)$/);
  expect(titleOf("Net3", [0, 3_600_000])).toMatch(/UTC/);
});

test("only signs that are drawn are explained", () => {
  const happened = [{ id: "1", time: 5, sign: "came" as const, twin: "a", words: "", detail: "" }];
  expect(keyOf([plot("a.level", "m")], [], 9_000, 9_000)).toEqual([]);
  expect(keyOf([plot("a.level", "m")], happened, 9_000, 9_000)).toEqual(["▼ alarm came"]);
  expect(keyOf([plot("a.level", "m", UNCERTAIN)], [...happened, { ...happened[0]!, sign: "command" }], 9_000, 9_000)).toEqual([
    "▼ alarm came", "◆ command", "■ several of them", "strip at the foot, slanted: uncertain",
  ]);
});
