import { expect, test } from "vitest";
import type { Trend } from "../wire";
import { Series } from "./series";

const TREND: Trend = { point: "t.x", unit: "m", time: [5_000], value: [2], quality: [0], tier: "raw", whole: true };

test("what was in force when the time began stands before its first reading", () => {
  const series = new Series();
  series.load({ ...TREND, held: { time: 1_000, value: 1, quality: 0 } });
  expect(series.time).toEqual([1, 5]);
  expect([series.at(4)?.value, series.at(5)?.value]).toEqual([1, 2]);
  series.load(TREND);
  expect(series.at(4)).toBeNull();
});

test("a reading that was not good holds as a gap", () => {
  const series = new Series();
  series.load({ ...TREND, held: { time: 1_000, value: null, quality: 0x808c0000 } });
  expect(series.at(4)).toEqual({ value: null, quality: 0x808c0000 });
});
