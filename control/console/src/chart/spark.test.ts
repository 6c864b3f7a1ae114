import { expect, test } from "vitest";
import { sparkPath } from "./spark";

test("a spark fills its height, and a gap stays a gap", () => {
  expect(sparkPath([0, 50, 100], [0, 5, 10], [0, 100])).toBe("M0.0 24.0L60.0 13.0L120.0 2.0");
  expect(sparkPath([0, 25, 50, 100], [0, null, NaN, 10], [0, 100])).toBe("M0.0 24.0M120.0 2.0");
});

test("a flat line lies in the middle, and noise of the last digit is flat", () => {
  expect(sparkPath([0, 100], [7, 7], [0, 100])).toBe("M0.0 13.0L120.0 13.0");
  expect(sparkPath([0, 100], [7, 7.0001], [0, 100])).toBe("M0.0 13.0L120.0 13.0");
});

test("what was before the stretch begins at its left, and nothing makes no path", () => {
  expect(sparkPath([-50, 100], [0, 10], [0, 100])).toBe("M0.0 24.0L120.0 2.0");
  expect([sparkPath([], [], [0, 1]), sparkPath([1], [null], [0, 1])]).toEqual(["", ""]);
});
