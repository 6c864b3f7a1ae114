// What was predicted of a command and how it fared, in words; must not know how it is fetched or drawn.
import type { LimitScore, PredictedEffect, PredictedRisk, PredictionRecord, ScoreRecord } from "../wire";
import { difference, duration, percent, quantity, span } from "../words";

export function riskWords(risk: PredictedRisk, horizonS: number): string {
  const with_ = `${percent(risk.probability)} (${percent(risk.low)} … ${percent(risk.high)})`;
  return `${risk.limit} within ${span(horizonS)}: ${with_}, ${percent(risk.baseline)} without the command`;
}

/** Whether the command changes a figure at all, as far as the runs can tell: an interval that holds zero does not. */
export function resolved(effect: PredictedEffect): boolean {
  return effect.low > 0 || effect.high < 0;
}

export function effectWords(effect: PredictedEffect): string {
  const said = `${effect.name}: ${difference(effect.mean)} ${effect.unit}`.trim();
  return resolved(effect) ? `${said} (${quantity(effect.low)} … ${quantity(effect.high)})` : `${said}, not resolved`;
}

/** How the prediction fared, one sentence a fact. */
export function scoreWords(made: PredictionRecord): string[] {
  const score = made.score;
  if (score === null) return [`Not compared yet: its ${span(made.horizon_s)} of plant time are not over, or its command is open.`];
  if (score.outcome === "unscored") return [`Not compared: ${score.detail}.`];
  const until = score.outcome === "censored" ? [`Compared only over ${duration(score.until_s * 1000)} of plant time: ${score.detail}.`] : [];
  return [...until, bandWords(score), ...score.limits.map(limitWords)];
}

function bandWords(score: ScoreRecord): string {
  return `${score.inside} of ${score.readings} readings lay in the 90 % band${score.coverage === null ? "" : ` (${percent(score.coverage)})`}.`;
}

function limitWords(limit: LimitScore): string {
  const came = limit.violated === null ? "could not be told" : limit.violated ? "it came" : "it did not come";
  return `${limit.limit}: ${percent(limit.probability)} predicted, ${came}.`;
}
