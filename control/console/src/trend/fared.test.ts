import { expect, test } from "vitest";
import { calibration, promiseKept, residuals } from "./fared";
import type { Band } from "./foretold";

const band: Band = { time: [10, 20, 30, 40], middle: [5, 5, null, 5], low: [4, 4, 4, 4], high: [6, 6, 6, 6] };
const actual = (time: number): number | null => (time === 20 ? 8 : 5.5);

test("a residual is what came less what was told, and nothing before it came", () => {
  expect(residuals(band, actual, 35).value).toEqual([0.5, 3, null, null]);
});

test("calibration counts what lay inside the band", () => {
  const found = calibration(60, band, actual, 35);
  expect([found.held, found.of]).toEqual([2, 3]);
  expect(found.error).toBeCloseTo(Math.sqrt((0.25 + 9) / 2));
  expect(calibration(60, band, () => null, 35).error).toBe(null);
});

test("a promise of 90 % is judged only where enough came due", () => {
  const of = (held: number, all: number) => promiseKept({ seconds: 1, held, of: all, error: 1 }, 0.9);
  expect(of(5, 10)).toBe("unknown");
  expect(of(90, 100)).toBe("kept");
  expect(of(70, 100)).toBe("too sure");
  expect(of(100, 100)).toBe("too unsure");
});
