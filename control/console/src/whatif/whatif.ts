// The shape of a what-if's result (sim/result.py, Result.to_json) and what is read out of it; nothing else knows it.
import type {
  AnswerChoice, AnswerComparison, AnswerDifference, AnswerFigure, AnswerGoal, AnswerLimitRisk, AnswerOutcome, AnswerPlan, CommandRequest, ErrorBody, WhatIfPlan, WhatIfRun,
} from "../wire";

/** Rows of a fan, in this order. */
export const QUANTILES = [0.05, 0.25, 0.5, 0.75, 0.95] as const;

export type Figure = AnswerFigure;
/** Scenario minus baseline. `half_width` is null when a single pair allows no interval. */
export type Difference = AnswerDifference;
export type LimitRisk = AnswerLimitRisk;
export type Outcome = AnswerOutcome;
/** The best option; `resolved`: better than the baseline beyond chance. */
export type Choice = AnswerChoice;
export type Goal = AnswerGoal;
/** Draft commands for the best option; none when the plant may be left as it is. */
export type Plan = AnswerPlan;
export type Result = AnswerComparison;
/** What a run found, of whatever kind. */
export type Answer = NonNullable<WhatIfRun["result"]>;

/** The result of a run; throws when it is not of the shape, so that no half picture is drawn. */
export function readResult(content: object): Result {
  const result = content as Result;
  const outcomes = result.outcomes;
  if (!Array.isArray(outcomes) || outcomes.length === 0 || !Array.isArray(result.times_s)) {
    throw new Error("This result is not of a form that this console knows.");
  }
  for (const outcome of outcomes) {
    for (const [point, fan] of Object.entries(outcome.fans)) {
      if (fan.length !== QUANTILES.length) throw new Error(`The fan of ${point} has ${fan.length} quantiles.`);
    }
  }
  return result;
}

/** Why a plan is not to be followed once a moment of it is past. */
export const OVERDUE = "The moment of a step is past, so that this is no longer what was simulated: ask again.";
/** Why a run cannot be shown: the server keeps runs as long as it lives. */
export const LOST = "This run is lost: the server has started anew since, or keeps newer ones in its place. Run the question again.";

export const isGone = (problem: ErrorBody): boolean => problem.code === "not_found";

/** A run that the server does not have any more: what was found stands, what was under way ends. */
export function lostRun(run: WhatIfRun): WhatIfRun {
  return run.state === "running" ? { ...run, state: "failed", error: LOST } : run;
}

/** One step of a plan, from 1; throws when it has none of that number, or when it is too late for it. */
export function stepOf(plan: WhatIfPlan, step: number): CommandRequest {
  if (plan.overdue) throw new Error(OVERDUE);
  const found = plan.commands[step - 1];
  if (found === undefined) throw new Error(`What-if ${plan.id} has no step ${step} to be commanded.`);
  return found;
}

/** Names of the figures that a result tells, of whatever kind it is. */
export function figuresTold(content: Answer | null): string[] {
  return content !== null && "outcomes" in content ? Object.keys(content.outcomes[0]?.kpis ?? {}) : [];
}

export const baselineOf = (result: Result): Outcome => result.outcomes[0]!;
export const scenariosOf = (result: Result): Outcome[] => result.outcomes.slice(1);
export const outputsOf = (result: Result): string[] => Object.keys(baselineOf(result).fans);

/** One row of the table of differences. */
export interface DifferenceRow {
  name: string;
  unit: string;
  baseline: number;
  scenario: number;
  difference: Difference;
}

export function differenceRows(result: Result, scenario: Outcome): DifferenceRow[] {
  const base = baselineOf(result);
  return Object.entries(scenario.differences).map(([name, difference]) => ({
    name,
    unit: unitOf(result, name),
    baseline: base.kpis[name]?.mean ?? NaN,
    scenario: scenario.kpis[name]?.mean ?? NaN,
    difference,
  }));
}

/** Of a difference over paired runs: what cannot be said of it; "" where it can. Runs share their chance, so that what nothing
 * depends on differs by nothing at all. */
export function verdict(d: { resolved: boolean; mean: number; half_width: number | null }): string {
  if (d.resolved) return "";
  return hasNoEffect(d) ? "no effect" : "not resolved";
}

export function hasNoEffect(d: { mean: number; half_width: number | null }): boolean {
  return d.mean === 0 && d.half_width === 0;
}

/** Hours at which a risk is told: at most `most` of the sample times, the last one always. */
export function riskTimes(result: Result, most: number): number[] {
  const last = result.times_s.length - 1;
  const step = Math.max(1, Math.ceil(last / most));
  const found: number[] = [];
  for (let i = last; i > 0; i -= step) found.unshift(i);
  return found;
}

/** Figures are called point.figure, `tank_1.level.min`, or carry their unit last, `energy_kwh`. */
function unitOf(result: Result, figure: string): string {
  const point = figure.slice(0, figure.lastIndexOf("."));
  return result.units[point] ?? (figure.endsWith("_kwh") ? "kWh" : "");
}
