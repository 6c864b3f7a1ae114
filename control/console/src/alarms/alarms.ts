// The alarms that stand, from a list and the steps that follow it, and what matters most among them; must not know
// sockets, HTTP or components. What is normal is not kept.
import type { AlarmChange, AlarmList, AlarmRecord, AlarmStep } from "../wire";

export const PRIORITIES = ["high", "medium", "low"] as const;
export type Priority = (typeof PRIORITIES)[number];
const RANK: Record<string, number> = { high: 3, medium: 2, low: 1 };
/** Newest steps that are kept for the history on the screen; older ones are the server's. */
export const RECENT_MOST = 10_000;

export class AlarmBook {
  readonly rows = new Map<string, AlarmRecord>();
  /** Newest last. */
  recent: AlarmStep[] = [];
  /** Number of the newest step that is in the rows. */
  n = 0;
  /** Steps that are the flood's own: no alarm has them. */
  private readonly floods = new Set<number>();
  /** Changes since a list was asked for: those that it does not have yet are taken after it. */
  private held: AlarmChange[] | null = null;

  /** A list is on its way. */
  hold(): void {
    this.held ??= [];
  }

  /** The list replaces all; what came while it was on its way goes on from it. Whether no step is missing. */
  begin(list: AlarmList): boolean {
    const held = this.held ?? [];
    this.held = null;
    this.rows.clear();
    for (const alarm of list.alarms) this.rows.set(alarm.id, alarm);
    this.n = list.n;
    for (const n of this.floods) if (n <= list.n) this.floods.delete(n);
    return this.apply(held);
  }

  /** In order of their numbers; what is known is passed over. False: steps are missing, the list must be had anew. */
  take(changes: readonly AlarmChange[]): boolean {
    this.held?.push(...changes);
    this.remember(changes);
    return this.apply(changes);
  }

  /** The flood began or ended with this step; it may be told before alarms with smaller numbers. */
  flood(n: number): void {
    this.floods.add(n);
  }

  private apply(changes: readonly AlarmChange[]): boolean {
    let whole = true;
    for (const change of changes) {
      if (change.n <= this.n) continue;
      while (this.floods.delete(this.n + 1)) this.n += 1;
      whole = whole && change.n === this.n + 1;
      this.n = change.n;
      if (retained(change.alarm)) this.rows.set(change.alarm.id, change.alarm);
      else this.rows.delete(change.alarm.id);
    }
    return whole;
  }

  private remember(changes: readonly AlarmChange[]): void {
    const last = this.recent.at(-1)?.n ?? 0;
    for (const change of changes) if (change.n > last) this.recent.push(stepOf(change));
    if (this.recent.length > RECENT_MOST) this.recent = this.recent.slice(-RECENT_MOST);
  }
}

function stepOf({ n, time, step, rings, by, reason, alarm: a }: AlarmChange): AlarmStep {
  const value = step === "active" || step === "cleared" ? a.value : null;
  return {
    n, time, step, rings, by, reason, value, alarm: a.id, point: a.point, twin: a.twin, priority: a.priority,
    until: step === "shelved" ? a.until : null, occurrence: a.occurrence,
  };
}

/** The limit of the look-ahead that it stands for; "" when it is of what is, not of what is predicted. */
export function predictedOf({ condition }: { condition: string }): string {
  return condition.startsWith("predicted ") ? condition.slice("predicted ".length) : "";
}

/** Whether somebody has to do something about it. */
export function owed(a: AlarmRecord): boolean {
  return a.active || a.latched || !(a.acked && a.confirmed);
}

/** Whether it is not as usual: owed, or kept silent. */
export function retained(a: AlarmRecord): boolean {
  return owed(a) || !a.told;
}

/** What an operator has before them; the journal asks for nobody. */
export function isOpen(a: AlarmRecord): boolean {
  return a.told && owed(a) && a.priority !== "journal";
}

export function rank(priority: string): number {
  return RANK[priority] ?? 0;
}

/** As the server sorts its list: the most urgent first, of equals the newest. */
export function byUrgency(a: AlarmRecord, b: AlarmRecord): number {
  return urgency(b) - urgency(a) || (b.active_at ?? 0) - (a.active_at ?? 0) || (a.id < b.id ? -1 : 1);
}

/** Unacknowledged and active before either before neither, then by priority. */
export function urgency(a: AlarmRecord): number {
  return 100 * Number(a.active && !a.acked) + 10 * Number(a.active || !a.acked) + rank(a.priority);
}

export interface AlarmCounts {
  /** Active or latched, and told. */
  active: Record<Priority, number>;
  /** Of those that are owed an acknowledgement, over or not. */
  unacknowledged: Record<Priority, number>;
  /** Kept from people. */
  silent: number;
  /** All that is open. */
  open: number;
}

export function countsOf(alarms: Iterable<AlarmRecord>): AlarmCounts {
  const none = (): Record<Priority, number> => ({ high: 0, medium: 0, low: 0 });
  const counts = { active: none(), unacknowledged: none(), silent: 0, open: 0 };
  for (const a of alarms) {
    if (!a.told) counts.silent += 1;
    if (!isOpen(a)) continue;
    counts.open += 1;
    const priority = a.priority as Priority;
    if (a.active || a.latched) counts.active[priority] += 1;
    if (!a.acked) counts.unacknowledged[priority] += 1;
  }
  return counts;
}

export function added(a: AlarmCounts, b: AlarmCounts): AlarmCounts {
  const each = (x: Record<Priority, number>, y: Record<Priority, number>): Record<Priority, number> => ({
    high: x.high + y.high, medium: x.medium + y.medium, low: x.low + y.low,
  });
  return {
    active: each(a.active, b.active), unacknowledged: each(a.unacknowledged, b.unacknowledged),
    silent: a.silent + b.silent, open: a.open + b.open,
  };
}

export function total(counts: Record<Priority, number>): number {
  return counts.high + counts.medium + counts.low;
}

/** The one to look at first: the most urgent that nobody has acknowledged. */
export function mostUrgent(alarms: Iterable<AlarmRecord>): AlarmRecord | null {
  let first: AlarmRecord | null = null;
  for (const a of alarms) if (isOpen(a) && !a.acked && (first === null || byUrgency(a, first) < 0)) first = a;
  return first;
}
