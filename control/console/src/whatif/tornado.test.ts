import { expect, test } from "vitest";
import { readRanking, sureWords } from "./ranking";
import { ends, readTornado } from "./tornado";
import { stepOf } from "./whatif";

const end = (mean: number, half_width: number | null = 1) => ({ mean, half_width, p_greater: 0.5, resolved: true });
const tornado = readTornado({
  kpi: "parts",
  base: { mean: 100, quantiles: [] },
  bars: [
    { parameter: "crew", low_value: 1, high_value: 3, low: end(-9), high: end(9) },
    { parameter: "belt", low_value: 8, high_value: 24, low: end(-2), high: end(0, null) },
  ],
});

test("bars of a tornado start at the base and their intervals stay on the scale", () => {
  const drawn = ends(tornado);
  expect(drawn).toMatchObject({ zero: 0.5, low: -10, high: 10 });
  const [low, high] = drawn.rows[0]!.ends;
  expect(low).toMatchObject({ left: 0.05, width: 0.45, from: 0, until: 0.1 });
  expect(high).toMatchObject({ left: 0.5, width: 0.45, from: 0.9, until: 1 });
});

test("an end without an interval is drawn as what it is", () => {
  expect(ends(tornado).rows[1]!.ends[1]).toMatchObject({ left: 0.5, width: 0, from: 0.5, until: 0.5 });
  const nothing = readTornado({ ...tornado, bars: [{ ...tornado.bars[0]!, low: end(0, 0), high: end(0, 0) }] });
  expect(ends(nothing).rows[0]!.ends[0]).toMatchObject({ left: 0, width: 0 });
});

test("results of another form are refused, not half drawn", () => {
  expect(() => readTornado({ bars: [] })).toThrow();
  expect(() => readRanking({ options: null })).toThrow();
});

test("a ranking says how sure it is, and by what right", () => {
  const ranking = readRanking({ options: [{ name: "a" }], method: "kn", resolved: true, p_correct: 0.95 });
  expect(sureWords(ranking)).toBe("selected with 95 % confidence");
  expect(sureWords({ ...ranking, method: "ocba", p_correct: 0.97 })).toContain("estimated");
  expect(sureWords({ ...ranking, resolved: false })).toContain("budget");
});

test("a step that a plan has not is never made up", () => {
  const command = { key: "whatif-x-1", point: "crew.size", value: 2 };
  const plan = { id: "x", scenario: "a", reason: "", taken: 0, commands: [command], by_hand: [], risks: [], overdue: false };
  expect(stepOf(plan, 1)).toBe(command);
  expect(() => stepOf(plan, 2)).toThrow(/no step 2/);
});
