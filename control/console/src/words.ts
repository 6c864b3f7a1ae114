// Numbers, times and ages as people read them; must not know where they come from.
import type { PointInfo } from "./wire";

const DAY_S = 86_400;

/** Seconds of plant time as `day 2, 07:05` (day 0 is the first). */
export function plantTime(seconds: number): string {
  if (!Number.isFinite(seconds)) return "unknown";
  const day = Math.floor(seconds / DAY_S);
  const minutes = Math.floor((seconds - day * DAY_S) / 60);
  return `day ${day}, ${two(Math.floor(minutes / 60))}:${two(minutes % 60)}`;
}

export function wallTime(ms: number): string {
  const at = new Date(ms);
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

/** Date only when it is not today: most times on the screen are. */
export function dateTime(ms: number, now: number = Date.now()): string {
  const at = new Date(ms);
  if (at.toDateString() === new Date(now).toDateString()) return wallTime(ms);
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${wallTime(ms)}`;
}

/** The zone of the browser's times: `UTC+01:00 (Europe/Berlin)`. */
export function zoneWords(ms: number): string {
  const east = -new Date(ms).getTimezoneOffset();
  const offset = east === 0 ? "UTC" : `UTC${east < 0 ? "−" : "+"}${two(Math.floor(Math.abs(east) / 60))}:${two(Math.abs(east) % 60)}`;
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  return zone && zone !== "UTC" ? `${offset} (${zone})` : offset;
}

/** The moment that a command waits for, on the plant's own clock or on the wall's. */
export function timeWords(moment: { at?: number | string | null; at_plant_s?: number | null }): string {
  if (typeof moment.at_plant_s === "number") return `${plantTime(moment.at_plant_s)} of the plant's clock`;
  if (typeof moment.at === "number") return dateTime(moment.at);
  return moment.at ?? "";
}

/** A length of time, coarse: `0.4 s`, `12 s`, `3 min`, `2 h 05`, `4 d`. */
export function duration(ms: number): string {
  const s = Math.max(0, ms) / 1000;
  if (s < 9.95) return `${s.toFixed(1)} s`;
  if (s < 60) return `${Math.round(s)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < DAY_S) return `${Math.floor(s / 3600)} h ${two(Math.floor((s % 3600) / 60))}`;
  return `${Math.floor(s / DAY_S)} d`;
}

/** Minutes up to two hours, then hours: `42 min`, `2 h 20`, `now`. */
export function minutes(seconds: number): string {
  const m = Math.round(seconds / 60);
  if (m <= 0) return seconds > 20 ? "1 min" : "now";
  if (m < 120) return `${m} min`;
  return `${Math.floor(m / 60)} h${m % 60 ? ` ${String(m % 60).padStart(2, "0")}` : ""}`;
}

/** Between two steps of one thing: milliseconds matter there. */
export function lapse(ms: number): string {
  return ms < 1000 ? `${Math.max(0, Math.round(ms))} ms` : duration(ms);
}

/** Seconds as scenarios write them: `4h`, `90m`, `45s`. */
export function shortDuration(seconds: number): string {
  if (seconds % 3600 === 0) return `${seconds / 3600}h`;
  if (seconds % 60 === 0) return `${seconds / 60}m`;
  return `${seconds}s`;
}

/** How far ahead something looks, in words: `2 h`, `30 min`, `45 s`. */
export function span(seconds: number): string {
  if (seconds >= 3600 && seconds % 360 === 0) return `${seconds / 3600} h`;
  if (seconds >= 60 && seconds % 6 === 0) return `${seconds / 60} min`;
  return `${Number.isInteger(seconds) ? seconds : seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
}

/** About four digits that matter, no flicker between lengths. */
export function quantity(value: number): string {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size >= 1000) return value.toFixed(0);
  if (size >= 100) return value.toFixed(1);
  return value.toFixed(2);
}

/** With a sign: differences. */
export function difference(value: number): string {
  return Number.isFinite(value) ? `${value > 0 ? "+" : value < 0 ? "−" : "±"}${quantity(Math.abs(value))}` : "–";
}

/** A probability or share; what is small but not nothing must not read as never. */
export function percent(share: number | undefined): string {
  if (share === undefined || !Number.isFinite(share)) return "–";
  if (share > 0 && share < 0.01) return "<1 %";
  return `${Math.round(share * 100)} %`;
}

/** A confidence, as it was asked for: `95 %`, `99.5 %`. */
export const percentWords = (share: number): string => `${Math.round(share * 1000) / 10} %`;

/** The value alone, without its unit; those of enums and booleans by their names. */
export function valueWords(point: PointInfo, value: number, text: string | undefined): string {
  const name = Number.isNaN(value) ? undefined : nameOf(point, value);
  if (name !== undefined) return name;
  if (text !== undefined) return text;
  if (Number.isNaN(value)) return "–";
  if (point.type === "integer" || point.type === "enum") return value.toFixed(0);
  return quantity(value);
}

/** What a value of an enum or a boolean is called. */
export function nameOf(point: PointInfo, value: number): string | undefined {
  const meant = point.type === "boolean" ? Number(value !== 0) : value;
  return point.names.find((n) => n.value === meant)?.name;
}

export function title(name: string): string {
  const words = name.replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

function two(n: number): string {
  return String(n).padStart(2, "0");
}
