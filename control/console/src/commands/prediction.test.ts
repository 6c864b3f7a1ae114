import { expect, test } from "vitest";
import { effectWords, riskWords, scoreWords } from "./prediction";
import type { PredictionRecord, ScoreRecord } from "../wire";

const score: ScoreRecord = {
  outcome: "scored", detail: "", scored_at: 0, until_s: 7_200, delay_s: 1, readings: 20, inside: 18, coverage: 0.9, points: [],
  limits: [{ limit: "tank_1.level<1", probability: 0.03, violated: false, brier: 0.0009 }],
};

function made(of: ScoreRecord | null): PredictionRecord {
  return { horizon_s: 7_200, score: of } as PredictionRecord;
}

test("a risk is told with its interval and without the command", () => {
  const risk = { limit: "tank_1.level<1", probability: 0.03, low: 0.01, high: 0.06, baseline: 0, worse: true, by: [] };
  expect(riskWords(risk, 7_200)).toBe("tank_1.level<1 within 2 h: 3 % (1 % … 6 %), 0 % without the command");
});

test("an effect whose interval holds zero is not resolved", () => {
  expect(effectWords({ name: "energy_kwh", unit: "kWh", mean: 0.5, low: -1, high: 2 })).toContain("not resolved");
  expect(effectWords({ name: "tank_1.level", unit: "m", mean: -0.5, low: -0.6, high: -0.4 })).toBe("tank_1.level: −0.50 m (-0.60 … -0.40)");
});

test("a score tells the band and whether each limit came", () => {
  expect(scoreWords(made(score))).toEqual(["18 of 20 readings lay in the 90 % band (90 %).", "tank_1.level<1: 3 % predicted, it did not come."]);
});

test("what was not compared says why, and never looks as if it had been right", () => {
  expect(scoreWords(made({ ...score, outcome: "unscored", detail: "the command was not sent" }))).toEqual(["Not compared: the command was not sent."]);
  expect(scoreWords(made({ ...score, outcome: "censored", detail: "somebody else commanded" }))[0]).toContain("Compared only over");
  expect(scoreWords(made(null))[0]).toContain("Not compared yet");
});
