import { expect, test } from "vitest";
import { timeTicks } from "./chart";

const at = (day: number, hour: number, minute = 0, second = 0): number => new Date(2026, 10, day, hour, minute, second).getTime() / 1000;

test("an axis of minutes and hours has times of day, seconds only where they matter", () => {
  expect(timeTicks([at(3, 9, 15, 5)], 5)).toEqual(["09:15:05"]);
  expect(timeTicks([at(3, 9, 15), at(3, 9, 30)], 900)).toEqual(["09:15", "09:30"]);
  expect(timeTicks([at(3, 18), at(4, 0)], 21_600)).toEqual(["18:00", "00:00"]);
});

test("an axis of days says which days", () => {
  expect(timeTicks([at(3, 0), at(3, 12), at(4, 0)], 43_200)).toEqual(["11-03", "12:00", "11-04"]);
  expect(timeTicks([at(3, 0), at(4, 0)], 86_400)).toEqual(["11-03", "11-04"]);
});
