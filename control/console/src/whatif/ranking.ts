// The shape of a ranking's result (sim/selection.py, Ranked.to_json), and of a search's (sim/optimise.py).
import type { AnswerOption, AnswerRanking, AnswerSearch } from "../wire";

export type Option = AnswerOption;
/** `p_correct` of kn is as asked for, of ocba estimated; options: the best first, those dropped last. */
export type Ranking = AnswerRanking;

/** The result of a run; throws when it is not of the shape. */
export function readRanking(content: object): Ranking {
  const found = content as Ranking;
  if (!Array.isArray(found.options) || found.options.length === 0) throw new Error("This ranking is not of a form that this console knows.");
  return found;
}

export type Optimum = AnswerSearch;

export function readOptimum(content: object): Optimum {
  const found = content as Optimum;
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
