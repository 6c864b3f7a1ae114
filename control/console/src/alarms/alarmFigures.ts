// Figures of an alarm system beside their targets, and as CSV; must not know components.
// Targets: EEMUA 191 and ISA-18.2, as docs/alarms.md has them.
import { type Cell, csv } from "../save";
import type { AlarmStatistics } from "../wire";
import { duration, percent } from "../words";

export interface Tile {
  id: string;
  name: string;
  value: string;
  target: string;
  /** Whether the target is kept; null where there is none. */
  kept: boolean | null;
}

/** From good to bad. */
export const LEVELS = ["predictive", "robust", "stable", "reactive", "overloaded"];
export const WINDOW_MS = 600_000;
/** More than so many in ten minutes, an operator, are a flood. */
export const FLOOD_BEGINS = 10;

const few = (value: number): string => (value === 0 || value >= 10 ? value.toFixed(0) : value.toFixed(2));

export function tiles(s: AlarmStatistics): Tile[] {
  return [
    { id: "mean", name: "Mean in 10 min", value: few(s.mean_10min), target: "at most 1", kept: s.mean_10min <= 1 },
    { id: "most", name: "Most in 10 min", value: few(s.most_10min), target: "at most 10", kept: s.most_10min <= 10 },
    { id: "flood", name: "Time in flood", value: percent(s.in_flood), target: "at most 1 %", kept: s.in_flood <= 0.01 },
    { id: "over", name: "10 min with more than 10", value: percent(s.over_10min), target: "at most 1 %", kept: s.over_10min <= 0.01 },
    { id: "ack", name: "Median until acknowledged", value: s.to_ack_s === null ? "nobody did" : duration(s.to_ack_s * 1000), target: "", kept: null },
    { id: "top", name: "Part of the ten worst", value: percent(s.top_share), target: "at most 5 %", kept: s.count === 0 || s.top_share <= 0.05 },
    { id: "standing", name: "Standing for a day", value: String(s.standing.length), target: "at most 5", kept: s.standing.length <= 5 },
  ];
}

/** Columns of uPlot: middle of each ten minutes in s, and how many rang; null where nobody watched. The last may be shorter. */
export function rates(s: AlarmStatistics): [number[], (number | null)[]] {
  return [s.per_window.map((_, i) => (s.start + (i + 0.5) * WINDOW_MS) / 1000), [...s.per_window]];
}

/** How much of the span a server watched; "" for all of it. */
export function watchedWords(s: AlarmStatistics): string {
  return s.watched_s * 1000 >= 0.995 * (s.end - s.start) ? "" : `a server watched ${duration(s.watched_s * 1000)} of it, and rates are of that time`;
}

/** Stretches of flood in s; one that goes on lasts until the end. */
export function floodSpans(s: AlarmStatistics): [number, number][] {
  return s.floods.map((f) => [f.start / 1000, (f.end ?? s.end) / 1000]);
}

export function statisticsCsv(s: AlarmStatistics): string {
  const time = (ms: number): string => new Date(ms).toISOString();
  const rows: Cell[][] = [
    ["span", "from", time(s.start), ""],
    ["span", "to", time(s.end), ""],
    ["figure", "operators", s.operators, ""],
    ["figure", "s watched", s.watched_s, ""],
    ["figure", "alarms that rang", s.count, ""],
    ["figure", "level", s.level, ""],
    ["figure", "mean in 10 min", s.mean_10min, 1],
    ["figure", "most in 10 min", s.most_10min, 10],
    ["figure", "part of time in flood", s.in_flood, 0.01],
    ["figure", "part of 10 min with more than 10", s.over_10min, 0.01],
    ["figure", "median s until acknowledged", s.to_ack_s, ""],
    ...s.priorities.flatMap((p) => [
      [`configured`, p.priority, p.configured, p.configured_share],
      [`rang`, p.priority, p.rang, p.rang_share],
      [`wanted`, p.priority, "", p.wanted_share],
    ]),
    ...(["top", "chattering", "fleeting"] as const).flatMap((list) => s[list].map((a) => [list, a.alarm, a.count, a.share])),
    ...s.standing.map((a) => ["standing", a.alarm, time(a.since), ""]),
    ...s.floods.map((f) => ["flood", time(f.start), f.end === null ? "goes on" : time(f.end), f.count]),
    ...s.per_window.map((count, i) => ["per 10 min", time(s.start + i * WINDOW_MS), count ?? "not watched", ""]),
  ];
  return csv(["list", "name", "value", "share_or_target"], rows);
}
