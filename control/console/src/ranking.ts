// The shape of a ranking's result (sim/selection.py, Ranked.to_json), and of a search's (sim/optimise.py).
import type { Goal, Plan } from "./whatif";

export interface Option {
  name: string;
  mean: number;
  replications: number;
  survived: boolean;
}

export interface Ranking {
  goal: Goal;
  method: "kn" | "ocba";
  best: string;
  /** kn: as asked for; ocba: estimated. */
  p_correct: number;
  resolved: boolean;
  reason: string;
  replications: number;
  /** The best first, those dropped last. */
  options: Option[];
  plan: Plan;
  horizon_s: number;
  clock_s: number;
  wall_s: number;
  seed: number;
  state_hash: string;
}

/** The result of a run; throws when it is not of the shape. */
export function readRanking(content: Record<string, unknown>): Ranking {
  const found = content as unknown as Ranking;
  if (!Array.isArray(found.options) || found.options.length === 0) throw new Error("This ranking is not of a form that this console knows.");
  return found;
}

export interface Optimum {
  decisions: Record<string, number>;
  seen: number;
  trials: number;
  result: Record<string, unknown>;
}

export function readOptimum(content: Record<string, unknown>): Optimum {
  const found = content as unknown as Optimum;
  if (typeof found.decisions !== "object" || found.decisions === null || typeof found.result !== "object") {
    throw new Error("This search is not of a form that this console knows.");
  }
  return found;
}

/** How sure the choice is, in words. */
export function sureWords(ranking: Ranking): string {
  const share = `${Math.round(ranking.p_correct * 100)} %`;
  if (!ranking.resolved) return ranking.method === "ocba" ? `P(correct) about ${share}: less than asked for` : "its budget ended it before it was sure";
  return ranking.method === "ocba" ? `P(correct) about ${share}, estimated` : `selected with ${share} confidence`;
}
