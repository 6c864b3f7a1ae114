// Marks on the time axis and moving along it; must not know components or the server.
import type { Happening } from "../wire";

export const LANES = [
  { lane: "high", label: "Alarms high" },
  { lane: "medium", label: "Alarms medium" },
  { lane: "low", label: "Alarms low" },
  { lane: "done", label: "Commands done" },
  { lane: "undone", label: "Commands not" },
  { lane: "link", label: "Links" },
  { lane: "plant", label: "Plant, models" },
] as const;
export type Lane = (typeof LANES)[number]["lane"];

/** `came`: something abnormal began; `went`: it ended; `other`: neither. */
export type Sort = "came" | "went" | "other";

export interface Mark {
  lane: Lane;
  time: number;
  sort: Sort;
  title: string;
  /** What is to be seen of it in the drawing, "" for nothing. */
  twin: string;
  steps: Happening[];
}

/** Marks that lie too near to be told apart on the screen. */
export interface Bin {
  lane: Lane;
  x: number;
  sort: Sort;
  marks: Mark[];
}

export interface LinkChange {
  device: string;
  state: string;
  time: number;
}

const RANK: Record<Sort, number> = { came: 2, went: 1, other: 0 };
const ALARM_SORT: Record<string, Sort> = { active: "came", cleared: "went", gone: "went" };

/** Oldest first. A command is one mark, where it was asked for, in the lane of what became of it. */
export function marksOf(happenings: readonly Happening[], links: readonly LinkChange[]): Mark[] {
  const marks: Mark[] = [];
  const commands = new Map<string, Mark>();
  for (const h of happenings.toSorted((a, b) => a.entry - b.entry)) {
    const twin = h.twins[0] ?? "";
    if (h.kind === "command") {
      const known = commands.get(h.command);
      const lane: Lane = h.action === "CONFIRMED" ? "done" : "undone";
      const title = `${h.points[0] ?? h.command} = ${h.value ?? "?"}: ${h.action}`;
      if (known) {
        known.steps.push(h);
        Object.assign(known, { lane, title, sort: sortOfCommand(h.action) });
      } else {
        const mark: Mark = { lane, time: h.time, sort: sortOfCommand(h.action), title, twin, steps: [h] };
        commands.set(h.command, mark);
        marks.push(mark);
      }
    } else if (h.kind === "alarm") {
      if (h.subject === "") continue;
      const lane: Lane = h.detail === "high" || h.detail === "medium" ? h.detail : "low";
      marks.push({ lane, time: h.time, sort: ALARM_SORT[h.action] ?? "other", title: `${h.subject}: ${h.action}`, twin, steps: [h] });
    } else {
      marks.push({ lane: "plant", time: h.time, sort: "other", title: [h.kind, h.subject, h.action].filter(Boolean).join(" "), twin, steps: [h] });
    }
  }
  for (const l of links) {
    const sort: Sort = l.state === "online" ? "went" : "came";
    marks.push({ lane: "link", time: l.time, sort, title: `${l.device}: ${l.state}`, twin: l.device, steps: [] });
  }
  return marks.sort((a, b) => a.time - b.time);
}

function sortOfCommand(status: string): Sort {
  if (status === "CONFIRMED") return "went";
  return ["FAILED", "REFUSED", "UNKNOWN", "EXPIRED"].includes(status) ? "came" : "other";
}

/** Marks of a lane within `size` pixels are one; it looks like the worst of them. */
export function binsOf(marks: readonly Mark[], start: number, end: number, width: number, size: number): Bin[] {
  const bins: Bin[] = [];
  const last = new Map<Lane, Bin>();
  for (const mark of marks) {
    if (mark.time < start || mark.time > end) continue;
    const x = ((mark.time - start) / (end - start)) * width;
    const before = last.get(mark.lane);
    if (before && x - before.x < size) {
      before.marks.push(mark);
      if (RANK[mark.sort] > RANK[before.sort]) before.sort = mark.sort;
    } else {
      const bin: Bin = { lane: mark.lane, x, sort: mark.sort, marks: [mark] };
      last.set(mark.lane, bin);
      bins.push(bin);
    }
  }
  return bins;
}

/** The nearest mark after (`way` 1) or before (−1) a moment; undefined when there is none. */
export function stepFrom(marks: readonly Mark[], at: number, way: 1 | -1): Mark | undefined {
  return way === 1 ? marks.find((m) => m.time > at + 0.5) : marks.findLast((m) => m.time < at - 0.5);
}

const STEPS_S = [1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 86_400, 7 * 86_400];

const localZone = (ms: number): number => -new Date(ms).getTimezoneOffset() * 60_000;

/**
 * Round moments of the local clock for at most `most` ticks, ms since 1970. `zoneOf`: what the clock is ahead of UTC at a
 * moment, ms; it may change within the range.
 */
export function ticksOf(start: number, end: number, most: number, zoneOf: (ms: number) => number = localZone): number[] {
  const step = (STEPS_S.find((s) => (end - start) / (s * 1000) <= most) ?? STEPS_S.at(-1)!) * 1000;
  const ticks: number[] = [];
  const first = Math.ceil((start + zoneOf(start)) / step) * step;
  for (let local = first; ticks.length <= most; local += step) {
    const time = local - zoneOf(local - zoneOf(start));
    if (time > end) break;
    if (time >= start && time > (ticks.at(-1) ?? -Infinity)) ticks.push(time);
  }
  return ticks;
}

/** Where the range must lie so that a moment is in it: it moves only as far as it must, and never beyond now. */
export function endFor(at: number, end: number, spanMs: number, now: number): number {
  if (at > end) return Math.min(now, at + spanMs / 2);
  return at < end - spanMs ? Math.min(now, at + spanMs / 2) : Math.min(end, now);
}
