import { expect, test } from "vitest";
import {
  becameWords, countdown, endWords, foretoldWords, heldWords, limitWords, nothingWords, pointWords, quietWords, readLimit, stateWords,
} from "./lookahead";
import type { LimitSkill, LookaheadState, LookaheadSummary, PointSkill, PredictedAlarm, QuietLimit, SaidOfLimit } from "../wire";

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

test("a limit is a line in the chart of its point", () => {
  expect(readLimit("tank_1.level<3")).toEqual({ name: "tank_1.level<3", point: "tank_1.level", value: 3 });
  expect(readLimit("tank_1.level>-0.5")?.value).toBe(-0.5);
  expect(readLimit("tank_1.level")).toBeNull();
});

test("without a forecast of now it says since when and why", () => {
  const state = { state: "stale", why: "tank_1.level is bad" } as LookaheadState;
  expect(stateWords(state, "14:32:00")).toBe("No forecast since 14:32:00 wall time: tank_1.level is bad");
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

test("that no limit is likely is said only of now, and when none is", () => {
  const x = { limit: "table_2.crates<1", probability: 0.9 };
  const state = {
    state: "current", p_min: 0.4, limits: [x.limit], forecast: { limits: [x] }, passed: [], quiet: [], shelves: [], alarms: [],
  } as unknown as LookaheadState;
  const with_ = (more: object): LookaheadState => ({ ...state, ...more }) as unknown as LookaheadState;
  const none = "No limit is likely to be passed.";
  expect(nothingWords(with_({ forecast: { limits: [{ ...x, probability: 0.39 }] } }))).toBe(none);
  expect(nothingWords(with_({ quiet: [{ limit: x.limit }] }))).toBe("No new one: table_2.crates<1 is quiet since it came.");
  expect(nothingWords(with_({ passed: [x.limit] }))).toContain("is passed already");
  expect(nothingWords(with_({ shelves: [{ limit: x.limit }] }))).toContain("is shelved");
  expect(nothingWords(with_({ state: "stale", forecast: { limits: [] } }))).not.toContain(none);
  expect(nothingWords(with_({ state: "waiting", forecast: null }))).toBe("No forecast yet.");
  expect(nothingWords(with_({ limits: [] }))).toContain("names no limits");
});

test("a limit that is quiet says since when, until when, and how often it was passed meanwhile", () => {
  const again = { foreseen: 15, unforeseen: 3, unsaid: 2 };
  const quiet: QuietLimit = { limit: "t<1", status: "came", came_s: 36_120, armed_s: 36_540, again };
  expect(quietWords(quiet)).toContain("passed 20 times more while quiet (15 foreseen, 3 unforeseen, 2 with no forecast in between)");
  expect(quietWords({ ...quiet, armed_s: null })).toContain("passed now");
  expect(quietWords({ ...quiet, again: { foreseen: 0, unforeseen: 0, unsaid: 0 }, status: "missed" })).toMatch(/^came unforeseen .*quiet until .*kept$/);
  expect(becameWords({ status: "missed", detail: "d", again } as PredictedAlarm)).toContain("20 times more");
});

test("a forecast that is no better than no change is called that", () => {
  const whole = { lead: 1, readings: 9, coverage_50: 0.4, coverage_90: 0.8, crps: 0.02, persistence: 0.01, skill: -1 };
  expect(pointWords({ point: "p", unit: "m", whole, leads: [], pit: [] } as PointSkill)).toContain("no better than without a forecast");
  const none: LimitSkill = { count: 0, passed: 0, brier: null, base: null, skill: null, reliability: null, resolution: null, uncertainty: null, bins: [] };
  expect(limitWords(none)).toContain("yet");
  expect(limitWords({ ...none, count: 26, passed: 2, brier: 0.011, skill: 0.85 })).toBe(
    "26 probabilities, of which 2 came true: Brier score 0.011, 85 % nearer than without a forecast.",
  );
});

test("the figures say of how many forecasts they are, those up to a command included", () => {
  const none = { waiting: 12, scored: 0, censored: 0, unscored: 0 } as LookaheadSummary;
  expect(heldWords(none)).toBe("No forecast has met its future yet; 12 wait for what comes.");
  expect(heldWords({ ...none, censored: 7 })).toBe(
    "The figures are of 7 forecasts held against what came: 7 as far as a command or another change that the forecast could not know of. 12 wait for what comes.",
  );
  expect(heldWords({ ...none, waiting: 1, scored: 1, unscored: 2 })).toBe(
    "The figures are of 1 forecast held against what came: 1 over the whole horizon. 1 waits for what comes. 2 could not be compared with anything.",
  );
});

test("an alarm that stands for a prediction says how likely and when, on which clock, and not when there is no forecast of now", () => {
  expect(foretoldWords("t<1", said, 47_640, false)).toBe("t<1 is likely to be passed: 83 %, in 42 min ± 4 min, plant time.");
  expect(foretoldWords("t<1", said, 47_640, true)).toContain("no forecast of now");
  expect(foretoldWords("t<1", undefined, 47_640, false)).toBe("t<1 is not predicted now.");
});
