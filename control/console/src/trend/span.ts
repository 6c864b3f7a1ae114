// Which stretch of time trends show, how it is kept in the address, zoomed and moved; must not know charts.

/** The last so many seconds, going on; or from one moment to another, ms since 1970. */
export type Span = { seconds: number } | { from: number; to: number };
/** From and to, ms since 1970. */
export type Window = [number, number];

export const SECONDS_MAX = 366 * 86_400;
/** A narrower window has no more to show: readings are some tenths of a second apart. */
const WINDOW_MIN_MS = 1_000;

export function readSpan(query: URLSearchParams): Span {
  const from = Number(query.get("from"));
  const to = Number(query.get("to"));
  if (from > 0 && to - from >= WINDOW_MIN_MS && to - from <= SECONDS_MAX * 1000) return { from, to };
  const seconds = Number(query.get("range"));
  return { seconds: seconds >= 1 && seconds <= SECONDS_MAX ? seconds : 300 };
}

export function noteSpan(span: Span): Record<string, string> {
  return "seconds" in span ? { range: String(span.seconds) } : { from: String(Math.round(span.from)), to: String(Math.round(span.to)) };
}

/** `ahead` is how much of the future is shown beside the last seconds, ms. */
export function windowOf(span: Span, now: number, ahead = 0): Window {
  return "seconds" in span ? [now - span.seconds * 1000, now + ahead] : [span.from, span.to];
}

export function sameSpan(a: Span, b: Span): boolean {
  return JSON.stringify(noteSpan(a)) === JSON.stringify(noteSpan(b));
}

/** `factor` below 1 shows less; what stands at `at` (0 … 1 of the width) stays there. */
export function zoomed([from, to]: Window, factor: number, at = 0.5): Span {
  const width = Math.min(SECONDS_MAX * 1000, Math.max(WINDOW_MIN_MS, (to - from) * factor));
  const fixed = from + (to - from) * at;
  return { from: fixed - width * at, to: fixed + width * (1 - at) };
}

/** `share` of the width later; earlier where it is negative. */
export function moved([from, to]: Window, share: number): Span {
  const step = (to - from) * share;
  return { from: from + step, to: to + step };
}

/** As a field `datetime-local` wants it: local time without a zone. */
export function fieldOf(ms: number): string {
  const at = new Date(ms);
  return new Date(ms - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}

/** What such a field says, in ms; null for nothing. */
export function momentOf(field: string): number | null {
  const ms = new Date(field).getTime();
  return Number.isFinite(ms) && field !== "" ? ms : null;
}

/** Why two fields are no span, "" when they are. */
export function spanMistake(from: number | null, to: number | null): string {
  if (from === null || to === null) return "Give both moments.";
  if (to - from < WINDOW_MIN_MS) return "The end must lie at least a second after the start.";
  return to - from > SECONDS_MAX * 1000 ? "At most a year." : "";
}
