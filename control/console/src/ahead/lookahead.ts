// Predicted alarms and the track record in words; must not know how they are fetched or drawn.
import type {
  AlarmSkill, LimitSkill, LookaheadState, LookaheadSummary, PassedAgain, PointSkill, PredictedAlarm, QuietLimit, SaidOfLimit,
} from "../wire";
import { minutes, percent, plantTime, quantity } from "../words";

export interface LimitLine {
  name: string;
  point: string;
  value: number;
}

/** `tank_1.level<3` as the point and the value at which to draw a line; null when it is not of the form. */
export function readLimit(text: string): LimitLine | null {
  const found = /^(.+?)[<>](.+)$/.exec(text);
  const value = Number(found?.[2]);
  return found && Number.isFinite(value) ? { name: text, point: found[1]!, value } : null;
}

/** What an alarm that stands for a prediction says of it; `said` is left out when it is predicted no more. */
export function foretoldWords(limit: string, said: SaidOfLimit | undefined, clockS: number, stale: boolean): string {
  if (said === undefined) return `${limit} is not predicted now.`;
  if (stale) return `${limit} was likely to be passed (${percent(said.probability)}) when last said; there is no forecast of now.`;
  return `${limit} is likely to be passed: ${percent(said.probability)}, ${countdown(said, clockS)}, plant time.`;
}

/** How long until it is expected, on the plant's clock: `in 42 min ± 4 min`. */
export function countdown(said: SaidOfLimit, clockS: number): string {
  if (Number.isNaN(clockS)) return "when: the plant's clock is not known";
  if (said.at_s === null || said.early_s === null || said.late_s === null) return "time unknown";
  const left = said.at_s - clockS;
  const half = `± ${minutes((said.late_s - said.early_s) / 2)}`;
  if (left <= 0) return clockS > said.late_s ? "overdue" : `due ${half}`;
  return `in ${minutes(left)} ${half}`;
}

export function chance(said: { probability: number; low: number; high: number }): string {
  return `${percent(said.probability)} (${percent(said.low)} … ${percent(said.high)})`;
}

/** The whole line under the heading: of when the forecast is, or why there is none. */
export function stateWords(state: LookaheadState, since: string): string {
  switch (state.state) {
    case "off":
      return "This plant does not look ahead.";
    case "waiting":
      return state.why ? `No forecast yet: ${state.why}` : "The first forecast is being made.";
    case "stale":
      return `No forecast since ${since} wall time${state.why ? `: ${state.why}` : "."}`;
    default:
      return `Forecast of ${since} wall time, as if nobody commanded anything.`;
  }
}

/** What is said where no predicted alarm stands; of a time that is not now, or with a limit that is likely, never that none is. */
export function nothingWords(state: LookaheadState): string {
  if (state.limits.length === 0) return "The plant names no limits to look for.";
  if (state.state === "stale") return "There is no forecast of now: a limit may be likely to be passed.";
  if (state.forecast === null) return "No forecast yet.";
  const likely = state.forecast.limits.filter((x) => x.probability >= state.p_min || state.passed.includes(x.limit));
  if (likely.length === 0) return "No limit is likely to be passed.";
  const shelved = new Set(state.shelves.map((s) => s.limit));
  const quiet = new Set(state.quiet.map((q) => q.limit));
  const why = (limit: string): string =>
    state.passed.includes(limit) ? "passed already" : quiet.has(limit) ? "quiet since it came" : shelved.has(limit) ? "shelved" : "likely";
  return `No new one: ${likely.map((x) => `${x.limit} is ${why(x.limit)}`).join(", ")}.`;
}

/** Of a limit that came and is not predicted again yet: `came day 0, 10:02; predicted again from day 0, 10:09 on, if kept`. */
export function quietWords(x: QuietLimit): string {
  const came = `${x.status === "missed" ? "came unforeseen" : "came"}${x.came_s === null ? "" : ` ${plantTime(x.came_s)}`}`;
  const armed = x.armed_s === null ? "passed now" : `quiet until ${plantTime(x.armed_s)}, if it is kept`;
  const again = againWords(x.again);
  return `${came}; ${armed}${again ? `; ${again}` : ""}`;
}

/** Further passings of a limit that had come; empty where there was none. */
export function againWords(x: PassedAgain): string {
  const count = x.foreseen + x.unforeseen + x.unsaid;
  if (count === 0) return "";
  return `passed ${count} times more while quiet (${x.foreseen} foreseen, ${x.unforeseen} unforeseen, ${x.unsaid} with no forecast in between)`;
}

/** What became of a predicted alarm, and of its limit until another could be predicted. */
export function becameWords(alarm: PredictedAlarm): string {
  const again = againWords(alarm.again);
  return again ? `${endWords(alarm)}; ${again}` : endWords(alarm);
}

/** What became of a predicted alarm. */
export function endWords(alarm: PredictedAlarm): string {
  switch (alarm.status) {
    case "came": {
      if (alarm.lead_s === null || alarm.error_s === null) return "came, and nobody saw it come";
      const off = Math.round(Math.abs(alarm.error_s) / 60);
      const word = off === 0 ? "on time" : `${off} min ${alarm.error_s > 0 ? "later" : "earlier"} than first said`;
      return `came, known ${minutes(alarm.lead_s)} before, ${word}`;
    }
    case "cleared":
      return `taken back: ${alarm.detail}`;
    case "lapsed":
      return `lapsed: ${alarm.detail}`;
    case "missed":
      return `came unforeseen: ${alarm.detail}`;
    default:
      return "stands";
  }
}

function skillWords(skill: number | null): string {
  if (skill === null) return "nothing changed: no forecast could be better";
  if (skill <= 0) return "no better than without a forecast";
  return `${percent(skill)} nearer than without a forecast`;
}

/** Of which forecasts the figures below are. */
export function heldWords(s: LookaheadSummary): string {
  const held = s.scored + s.censored;
  const wait = `${s.waiting} ${s.waiting === 1 ? "waits" : "wait"} for what comes.`;
  if (held === 0) return `No forecast has met its future yet; ${wait}`;
  const parts = [
    ...(s.scored > 0 ? [`${s.scored} over the whole horizon`] : []),
    ...(s.censored > 0 ? [`${s.censored} as far as a command or another change that the forecast could not know of`] : []),
  ];
  const left = s.unscored > 0 ? ` ${s.unscored} could not be compared with anything.` : "";
  return `The figures are of ${held} ${held === 1 ? "forecast" : "forecasts"} held against what came: ${parts.join(", ")}. ${wait}${left}`;
}

export function pointWords(p: PointSkill): string {
  const w = p.whole;
  return `${percent(w.coverage_50 ?? NaN)} of ${w.readings} readings in the 50 % band, ${percent(w.coverage_90 ?? NaN)} in the 90 % band; off by ${quantity(w.crps ?? NaN)} ${p.unit} (CRPS), ${skillWords(w.skill)}`;
}

export function limitWords(x: LimitSkill): string {
  if (x.count === 0 || x.brier === null) return "No probability of a limit has met its future yet.";
  const rate = `${x.count} probabilities, of which ${x.passed} came true: Brier score ${x.brier.toFixed(3)}`;
  return x.skill === null ? `${rate}.` : `${rate}, ${skillWords(x.skill)}.`;
}

export function alarmWords(a: AlarmSkill): string {
  const lead = a.lead_s === null ? "" : `, known ${minutes(a.lead_s)} before`;
  const again = againWords(a.again);
  const more = again ? ` Limits that had come were ${again}.` : "";
  return `${a.came} predicted alarms came${lead}, ${a.cleared + a.lapsed} did not; ${a.missed} came unforeseen.${more}`;
}
