// The worst alarm of every twin at a past moment; pure.
import { rank } from "./alarms";
import type { PastAlarm } from "../wire";

/** Of one twin with all its parts. */
export interface WorstAlarm {
  priority: string;
  /** Whether one of that priority waits to be acknowledged. */
  unacknowledged: boolean;
}

/** Of those that people were told of. `wholeOf`: twin -> the twin that it is part of, as it is today. */
export function worstThen(alarms: readonly PastAlarm[], wholeOf: ReadonlyMap<string, string>): Map<string, WorstAlarm> {
  const found = new Map<string, WorstAlarm>();
  for (const { twin: own, priority, acked, silent } of alarms) {
    if (silent) continue;
    const seen = new Set<string>();
    for (let twin: string | undefined = own; twin !== undefined && !seen.has(twin); twin = wholeOf.get(twin)) {
      seen.add(twin);
      const so = found.get(twin);
      if (so === undefined || rank(priority) > rank(so.priority)) found.set(twin, { priority, unacknowledged: !acked });
      else if (priority === so.priority && !acked) so.unacknowledged = true;
    }
  }
  return found;
}
