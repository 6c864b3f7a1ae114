// Scenarios and commands as text, from what a form holds; must not know components or the server.
import type { PointInfo } from "../wire";
import { shortDuration } from "../words";

/** One line of the builder. Durations in seconds; null lasts to the end. */
export interface Step {
  point: string;
  value: number;
  at_s: number;
  for_s: number | null;
}

/** `pump_335.status=off at 30m for 4h` */
export function stepText(step: Step, points: ReadonlyMap<string, PointInfo>): string {
  const point = points.get(step.point);
  const value = point?.type === "boolean" ? (step.value !== 0 ? "on" : "off") : String(step.value);
  const at = step.at_s > 0 ? ` at ${shortDuration(step.at_s)}` : "";
  const lasting = step.for_s === null ? "" : ` for ${shortDuration(step.for_s)}`;
  return `${step.point}=${value}${at}${lasting}`;
}

/** One scenario a line; empty lines are nothing. */
export function lines(text: string): string[] {
  return text.split("\n").map((l) => l.trim()).filter((l) => l !== "");
}

/** A point that a what-if may set, its value now (NaN when unknown), and whether it is the only one of its kind. */
export interface Settable {
  point: PointInfo;
  now: number;
  alone: boolean;
}

/**
 * A few scenarios that change something, so that nobody starts from an empty field: the whole number of what there is
 * one of (people, vehicles), then something switched over, then a number elsewhere in its range.
 */
export function examples(settable: readonly Settable[]): string[] {
  const text = (s: Settable, value: number, when: string): string => {
    const name = s.point.type === "boolean" ? (value !== 0 ? "on" : "off") : String(value);
    return `${s.point.name}=${name}${when}`;
  };
  const numbers = settable.filter((s) => s.point.names.length === 0 && other(s) !== null);
  const single = numbers.filter((s) => s.alone && s.point.type === "integer");
  // What runs now comes first: that it stops is felt.
  const switched = settable.filter((s) => s.point.type === "boolean").toReversed().toSorted((a, b) => Number(b.now === 1) - Number(a.now === 1));
  const switches = switched.map((s) => text(s, s.now === 0 ? 1 : 0, " for 4h"));
  const sets = numbers.filter((s) => s !== single[0]).toReversed().map((s) => text(s, other(s)!, " at 30m for 2h"));
  const one = single.slice(0, 1).map((s) => text(s, other(s)!, ""));
  return [...one, ...switches.slice(0, 1), ...sets.slice(0, 1), ...switches.slice(1), ...sets.slice(1)].slice(0, 3);
}

/** Another value within the range: one more of few, or about a quarter of the range away; null when there is none. */
function other({ point, now }: Settable): number | null {
  const { low, high } = point;
  if (low === null || high === null || !(high > low)) return null;
  const whole = point.type === "integer";
  const from = Number.isNaN(now) ? low : Math.min(high, Math.max(low, now));
  const step = whole && high - low <= 12 ? 1 : (high - low) / 4;
  const to = from + step <= high ? from + step : from - step;
  return whole ? Math.round(to) : Number(to.toPrecision(2));
}

/** What is wrong with a value for a point, in words; empty when nothing is. The server checks again. */
export function valueMistake(point: PointInfo, value: number): string {
  if (!Number.isFinite(value)) return "Type a number.";
  if (point.low !== null && value < point.low) return `At least ${point.low} ${point.unit}`.trim();
  if (point.high !== null && value > point.high) return `At most ${point.high} ${point.unit}`.trim();
  return "";
}

/** The range a number may have, in words. */
export function rangeWords(point: PointInfo): string {
  if (point.low === null && point.high === null) return "any number";
  return `${point.low ?? "−∞"} … ${point.high ?? "∞"} ${point.unit}`.trim();
}
