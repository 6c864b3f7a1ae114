// Alarms up the parts of a plant: what the worst alarm of each twin is, and how many it has; pure.
import { type AlarmCounts, countsOf, isOpen, rank, urgency } from "./alarms";
import { upwards } from "../plant/partOf";
import type { AlarmRecord } from "../wire";


/** Of one twin with all its parts. */
export interface TwinAlarms {
  /** How many are open. */
  count: number;
  /** The highest priority among them. */
  priority: string;
  /** Whether one of that priority waits to be acknowledged. */
  unacknowledged: boolean;
  /** The one to look at first. */
  first: AlarmRecord;
}

/** Every twin that has an open alarm, itself or in its parts. */
export function rollUp(alarms: Iterable<AlarmRecord>, wholeOf: ReadonlyMap<string, string>): Map<string, TwinAlarms> {
  const found = new Map<string, TwinAlarms>();
  for (const alarm of alarms) {
    if (!isOpen(alarm)) continue;
    for (const twin of upwards(alarm.twin, wholeOf)) {
      const so = found.get(twin);
      if (so === undefined) found.set(twin, { count: 1, priority: alarm.priority, unacknowledged: !alarm.acked, first: alarm });
      else add(so, alarm);
    }
  }
  return found;
}

function add(so: TwinAlarms, alarm: AlarmRecord): void {
  so.count += 1;
  if (rank(alarm.priority) > rank(so.priority)) {
    so.priority = alarm.priority;
    so.unacknowledged = !alarm.acked;
  } else if (alarm.priority === so.priority && !alarm.acked) so.unacknowledged = true;
  if (urgency(alarm) > urgency(so.first)) so.first = alarm;
}

/** Every twin that has an alarm that is not as usual, itself or in its parts, counted as all are. */
export function countUp(alarms: Iterable<AlarmRecord>, wholeOf: ReadonlyMap<string, string>): Map<string, AlarmCounts> {
  const found = new Map<string, AlarmRecord[]>();
  for (const alarm of alarms) {
    for (const twin of upwards(alarm.twin, wholeOf)) {
      const held = found.get(twin);
      if (held) held.push(alarm);
      else found.set(twin, [alarm]);
    }
  }
  return new Map([...found].map(([twin, of]) => [twin, countsOf(of)]));
}
