// Alarms up the parts of a plant: which twins are part of which, and what the worst alarm of each is; pure.
import { isOpen, rank, urgency } from "./alarms";
import type { AlarmRecord, PlantInfo } from "./wire";

/** As twin/graph.py has it. */
const PART_OF = new Set(["contains", "hasPart", "parts"]);

/** Twin -> the twin that it is part of. */
export function wholes(plant: PlantInfo): Map<string, string> {
  return new Map(plant.relationships.filter((r) => PART_OF.has(r.name)).map((r) => [r.target, r.source]));
}

/** A twin and all its parts. */
export function subtree(twin: string, wholeOf: ReadonlyMap<string, string>): Set<string> {
  const partsOf = new Map<string, string[]>();
  for (const [part, whole] of wholeOf) partsOf.set(whole, [...(partsOf.get(whole) ?? []), part]);
  const found = new Set([twin]);
  for (const one of found) for (const part of partsOf.get(one) ?? []) found.add(part);
  return found;
}

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
    const seen = new Set<string>();
    for (let twin: string | undefined = alarm.twin; twin !== undefined && !seen.has(twin); twin = wholeOf.get(twin)) {
      seen.add(twin);
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
