// Rows of the table of alarms, those that stand and steps of the past alike: filtered and sorted; must not know components.
import { isOpen, owed, rank, urgency } from "./alarms";
import type { AlarmRecord, AlarmStep } from "../wire";

export interface AlarmRow {
  key: string;
  id: string;
  twin: string;
  point: string;
  priority: string;
  /** State of one that stands, or what happened. */
  word: string;
  /** When it came, or happened; null for one that never came. */
  time: number | null;
  value: number | null;
  condition: string;
  unit: string;
  message: string;
  count: number;
  by: string;
  reason: string;
  /** The alarm itself, when it stands. */
  alarm: AlarmRecord | null;
  step: AlarmStep | null;
}

export const SHOWS = [
  { show: "open", label: "Open", fits: isOpen },
  { show: "unacknowledged", label: "Unacknowledged", fits: (a: AlarmRecord) => a.told && !a.acked },
  { show: "active", label: "Active", fits: (a: AlarmRecord) => a.told && a.active },
  { show: "unsure", label: "In doubt", fits: (a: AlarmRecord) => a.unsure },
  { show: "shelved", label: "Shelved", fits: (a: AlarmRecord) => a.until !== null },
  { show: "suppressed", label: "Suppressed", fits: (a: AlarmRecord) => a.suppressed || a.designed },
  { show: "out_of_service", label: "Out of service", fits: (a: AlarmRecord) => a.out_of_service },
  { show: "standing", label: "All that stand", fits: () => true },
  { show: "history", label: "History", fits: () => false },
  { show: "everything", label: "Standing and history", fits: () => true },
] as const;
export type Show = (typeof SHOWS)[number]["show"];

export interface Filter {
  show: Show;
  priority: string;
  /** The twins that count; null for all. */
  twins: ReadonlySet<string> | null;
  /** Not older than so; 0 for any. */
  since: number;
  text: string;
  by: string;
}

export function hasHistory(show: Show): boolean {
  return show === "history" || show === "everything";
}

/** Those that are kept from people: who did it and why matters there, not who acknowledged. */
export function isSilent(show: Show): boolean {
  return show === "shelved" || show === "suppressed" || show === "out_of_service";
}

export const SILENCING = ["shelved", "suppressed", "removed"];

/** Alarm -> its newest step of that kind; `steps` are the oldest first, and newer than those `known`. */
export function silencers(steps: Iterable<AlarmStep>, known: ReadonlyMap<string, AlarmStep>): Map<string, AlarmStep> {
  const found = new Map(known);
  for (const s of steps) if (SILENCING.includes(s.step) && s.n > (found.get(s.alarm)?.n ?? 0)) found.set(s.alarm, s);
  return found;
}

export function rowOf(a: AlarmRecord): AlarmRow {
  return {
    key: a.id, id: a.id, twin: a.twin, point: a.point, priority: a.priority, word: a.state, time: a.active_at, value: a.value,
    condition: a.condition, unit: a.unit, message: a.message, count: a.occurrence, by: a.acked_by, reason: a.comment, alarm: a,
    step: null,
  };
}

/** `known`: the alarm as it stands, for what a step does not say. */
export function rowOfStep(s: AlarmStep, known: AlarmRecord | undefined): AlarmRow {
  return {
    key: `#${s.n}`, id: s.alarm, twin: s.twin, point: s.point, priority: s.priority, word: s.step, time: s.time, value: s.value,
    condition: known?.condition ?? "", unit: known?.unit ?? "", message: s.alarm === "" ? "alarm flood" : (known?.message ?? ""),
    count: s.occurrence, by: s.by, reason: s.reason, alarm: null, step: s,
  };
}

/** `silenced`: what made them silent, by alarm; it is told of those that are asked for as silent ones. */
export function standing(alarms: Iterable<AlarmRecord>, filter: Filter, silenced: ReadonlyMap<string, AlarmStep> = new Map()): AlarmRow[] {
  const { fits } = SHOWS.find((row) => row.show === filter.show)!;
  const rows: AlarmRow[] = [];
  for (const a of alarms) {
    // The journal asks for nobody: it is listed where it is named, or where all is.
    const unasked = a.priority === "journal" && filter.priority !== "journal" && filter.show !== "standing";
    if (fits(a) && !unasked && (owed(a) || !a.told)) {
      const row = rowOf(a);
      const by = isSilent(filter.show) ? silenced.get(a.id) : undefined;
      if (by !== undefined) Object.assign(row, { time: by.time, by: by.by, reason: by.reason });
      if (passes(row, filter)) rows.push(row);
    }
  }
  return rows;
}

export function past(steps: Iterable<AlarmStep>, known: ReadonlyMap<string, AlarmRecord>, filter: Filter): AlarmRow[] {
  const rows: AlarmRow[] = [];
  for (const s of steps) {
    const row = rowOfStep(s, known.get(s.alarm));
    if (passes(row, filter)) rows.push(row);
  }
  return rows;
}

function passes(row: AlarmRow, filter: Filter): boolean {
  if (filter.priority !== "" && row.priority !== filter.priority) return false;
  if (filter.twins !== null && !filter.twins.has(row.twin)) return false;
  if (filter.since > 0 && (row.time ?? 0) < filter.since) return false;
  if (filter.by !== "" && !row.by.toLowerCase().includes(filter.by.toLowerCase())) return false;
  if (filter.text === "") return true;
  const text = filter.text.toLowerCase();
  return [row.id, row.message, row.reason].some((said) => said.toLowerCase().includes(text));
}

/** Steps fetched and steps heard, newest first, each once. */
export function joined(fetched: readonly AlarmStep[], heard: readonly AlarmStep[]): AlarmStep[] {
  const newest = fetched[0]?.n ?? 0;
  return [...heard.filter((s) => s.n > newest).reverse(), ...fetched];
}

const ORDERS: Record<string, (a: AlarmRow, b: AlarmRow) => number> = {
  urgency: (a, b) => weight(b) - weight(a) || later(a, b),
  state: (a, b) => text(a.word, b.word),
  priority: (a, b) => rank(b.priority) - rank(a.priority),
  alarm: (a, b) => text(a.id, b.id),
  twin: (a, b) => text(a.twin, b.twin),
  since: later,
  count: (a, b) => b.count - a.count,
  by: (a, b) => text(a.by, b.by),
};

/** `sort` is a column, with `-` before it for the other way round; "" is urgency, then time. */
export function sorted(rows: AlarmRow[], sort: string): AlarmRow[] {
  const turned = sort.startsWith("-");
  const order = ORDERS[(turned ? sort.slice(1) : sort) || "urgency"] ?? ORDERS["urgency"]!;
  return rows.sort((a, b) => (turned ? -order(a, b) : order(a, b)) || later(a, b) || text(a.id, b.id));
}

/** In the order in which they stood, so that none moves under a hand that points at it; new ones come last. */
export function steady(rows: AlarmRow[], stood: ReadonlyMap<string, number>): AlarmRow[] {
  const place = (row: AlarmRow): number => stood.get(row.key) ?? stood.size;
  return rows.sort((a, b) => place(a) - place(b));
}

/** What stands before what is past. */
const weight = (row: AlarmRow): number => (row.alarm === null ? -1 : urgency(row.alarm));

function later(a: AlarmRow, b: AlarmRow): number {
  return (b.time ?? 0) - (a.time ?? 0) || (b.step?.n ?? 0) - (a.step?.n ?? 0);
}

const text = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

const WORDS: Record<string, string> = {
  designed_out: "out by design", out_of_service: "out of service", active: "came", cleared: "returned to normal",
  designed_in: "in by design", removed: "taken out of service", returned: "returned", unsure: "in doubt", sure: "sure again",
  flood: "flood began", flood_over: "flood ended",
};

export function stateWords(row: Pick<AlarmRow, "word" | "step">): string {
  // The step of coming back into service and the state of an alarm that is over are both called `returned`.
  if (row.step !== null && row.word === "returned") return "back in service";
  return WORDS[row.word] ?? row.word;
}
