// Alarms and their changes for tests.
import type { AlarmChange, AlarmList, AlarmRecord } from "../wire";

/** Active, told and not acknowledged. */
export function alarm(id: string, more: Partial<AlarmRecord> = {}): AlarmRecord {
  return {
    id, row: "high", point: `${id}.level`, twin: id, priority: "medium", condition: "hi 9", message: "", group: "", unit: "m",
    state: "unacknowledged", active: true, acked: false, confirmed: true, latched: false, unsure: false, shelf: "unshelved",
    until: null, suppressed: false, designed: false, out_of_service: false, told: true, first_out: false, occurrence: 1,
    active_at: 1000, cleared_at: null, acked_at: null, acked_by: "", value: 9.5, comment: "", ...more,
  };
}

export function change(n: number, of: AlarmRecord, more: Partial<AlarmChange> = {}): AlarmChange {
  return { n, step: "active", time: n, by: "", reason: "", rings: true, alarm: of, ...more };
}

export function list(n: number, ...alarms: AlarmRecord[]): AlarmList {
  return { alarms, total: alarms.length, flood: false, rate_10min: 0, waiting: 0, n, shelve_operator_s: 28_800 };
}
