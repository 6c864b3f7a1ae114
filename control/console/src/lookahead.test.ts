import { expect, test } from "vitest";
import { countdown, endWords, limitWords, minutes, pointWords, readLimit, stateWords } from "./lookahead";
import type { LimitSkill, LookaheadState, PointSkill, PredictedAlarm, SaidOfLimit } from "./wire";

const said: SaidOfLimit = {
  probability: 0.83, low: 0.75, high: 0.89, early_s: 49_920, at_s: 50_160, late_s: 50_400, made_at: 0, clock_s: 47_640,
};

test("a predicted alarm counts down on the plant's clock", () => {
  expect(countdown(said, 47_640)).toBe("in 42 min ± 4 min");
  expect(countdown(said, 50_100)).toBe("in 1 min ± 4 min");
  expect(countdown(said, 50_200)).toBe("due ± 4 min");
  expect(countdown(said, 50_401)).toBe("overdue");
  expect(countdown({ ...said, at_s: null }, 0)).toBe("time unknown");
});

test("long times are told in hours", () => {
  expect(minutes(7_140)).toBe("119 min");
  expect(minutes(8_400)).toBe("2 h 20");
  expect(minutes(7_200)).toBe("2 h");
});

test("a limit is a line in the chart of its point", () => {
  expect(readLimit("tank_1.level<3")).toEqual({ name: "tank_1.level<3", point: "tank_1.level", value: 3 });
  expect(readLimit("tank_1.level>-0.5")?.value).toBe(-0.5);
  expect(readLimit("tank_1.level")).toBeNull();
});

test("without a forecast of now it says since when and why", () => {
  const state = { state: "stale", why: "tank_1.level is bad" } as LookaheadState;
  expect(stateWords(state, "14:32:00")).toBe("No forecast since 14:32:00: tank_1.level is bad");
  expect(stateWords({ ...state, state: "waiting", why: "" }, "")).toContain("is being made");
  expect(stateWords({ ...state, state: "off" }, "")).toContain("does not look ahead");
});

test("what became of a predicted alarm never looks better than it was", () => {
  const alarm = { status: "came", lead_s: 3_467, error_s: 211, detail: "" } as PredictedAlarm;
  expect(endWords(alarm)).toBe("came, known 58 min before, 4 min later than first said");
  expect(endWords({ ...alarm, error_s: -600 })).toContain("10 min earlier");
  expect(endWords({ ...alarm, lead_s: null })).toBe("came, and nobody saw it come");
  expect(endWords({ ...alarm, status: "missed", detail: "P = 0.03 was said" })).toContain("unforeseen");
});

test("a forecast that is no better than no change is called that", () => {
  const whole = { lead: 1, readings: 9, coverage_50: 0.4, coverage_90: 0.8, crps: 0.02, persistence: 0.01, skill: -1 };
  expect(pointWords({ point: "p", unit: "m", whole, leads: [], pit: [] } as PointSkill)).toContain("no better than without a forecast");
  const none: LimitSkill = { count: 0, passed: 0, brier: null, base: null, skill: null, reliability: null, resolution: null, uncertainty: null, bins: [] };
  expect(limitWords(none)).toContain("yet");
  expect(limitWords({ ...none, count: 26, passed: 2, brier: 0.011, skill: 0.85 })).toBe(
    "26 probabilities, of which 2 came true: Brier score 0.011, 85 % nearer than saying that nothing changes.",
  );
});
