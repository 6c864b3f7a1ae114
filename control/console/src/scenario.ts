// Scenarios and commands as text, from what a form holds; must not know components or the server.
import type { PointInfo } from "./wire";
import { shortDuration } from "./words";

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

/** A few scenarios that this plant allows, so that nobody starts from an empty field. */
export function examples(writable: readonly PointInfo[]): string[] {
  const switched = writable.filter((p) => p.type === "boolean").toReversed();
  const set = writable.find((p) => p.type !== "boolean" && p.high !== null);
  const found = switched.slice(0, 2).map((p) => `${p.name}=${p.property === "status" ? "off" : "on"} for 4h`);
  const pumps = switched.filter((p) => p.property === "status");
  if (pumps[0]) found.unshift(`${pumps[0].name}=off for 4h`);
  if (set) found.push(`${set.name}=${Math.round((set.high ?? 100) * 0.7)} at 30m for 2h`);
  return [...new Set(found)].slice(0, 3);
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
