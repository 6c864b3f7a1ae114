import { expect, test } from "vitest";
import { difference, duration, minutes, percent, plantTime, quantity, shortDuration, span } from "./words";

test("plant time is day and time of day", () => {
  expect(plantTime(0)).toBe("day 0, 00:00");
  expect(plantTime(86_400 + 7 * 3600 + 5 * 60 + 59)).toBe("day 1, 07:05");
  expect(plantTime(NaN)).toBe("unknown");
});

test("durations are coarse and never jump a unit", () => {
  expect([400, 9_960, 59_400, 7_500_000, 200_000_000].map(duration)).toEqual(["0.4 s", "10 s", "59 s", "2 h 05", "2 d"]);
});

test("long times are told in hours", () => {
  expect(minutes(7_140)).toBe("119 min");
  expect(minutes(8_400)).toBe("2 h 20");
  expect(minutes(7_200)).toBe("2 h");
});

test("durations of scenarios are what the server reads", () => {
  expect([14_400, 5_400, 45].map(shortDuration)).toEqual(["4h", "90m", "45s"]);
});

test("quantities keep about four digits and differences their sign", () => {
  expect([3.14159, 123.456, 1234.5, NaN].map(quantity)).toEqual(["3.14", "123.5", "1235", "–"].map(String));
  expect([0.5, -0.5, 0].map(difference)).toEqual(["+0.50", "−0.50", "±0.00"]);
});

test("what is unlikely does not read as never", () => {
  expect([0, 0.004, 0.034, 1].map(percent)).toEqual(["0 %", "<1 %", "3 %", "100 %"]);
});

test("how far ahead a forecast looks has one unit", () => {
  expect([7_200, 5_400, 1_800, 45].map(span)).toEqual(["2 h", "1.5 h", "30 min", "45 s"]);
});
