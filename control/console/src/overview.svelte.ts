// What the overview asks the server for besides live values: alarms, their limits and roll-ups, and the last hour of figures.
import * as api from "./api";
import { type Limit, limitsOf } from "./overview";
import { session } from "./session.svelte";
import type { AlarmRecord, AlarmRollup, ErrorBody } from "./wire";

export const HOUR_MS = 3_600_000;
const ALARMS_EVERY_MS = 2_000;
const HOUR_EVERY_MS = 60_000;
const SAMPLES = 150;
/** Courses asked for at once: the server has others to serve. */
const AT_ONCE = 4;

export interface Course {
  time: number[];
  value: (number | null)[];
}

export class Overview {
  private all = $state.raw<AlarmRecord[]>([]);
  private retained = $state.raw<ReadonlyMap<string, AlarmRecord>>(new Map());
  rollups = $state.raw<ReadonlyMap<string, AlarmRollup>>(new Map());
  problem = $state.raw<ErrorBody | null>(null);
  loaded = $state(false);
  courses = $state.raw<ReadonlyMap<string, Course>>(new Map());
  /** All alarms of the plant, whatever their state. */
  readonly alarms = $derived(this.all.map((a) => this.retained.get(a.id) ?? { ...a, state: "normal", active: false, acked: true }));
  readonly limits = $derived<Map<string, Limit[]>>(limitsOf(this.all));
  /** Alarms that are kept from people: shelved, suppressed, by design, out of service. */
  readonly silent = $derived<ReadonlySet<string>>(new Set(this.alarms.filter((a) => !a.told).map((a) => a.id)));
  readonly open = $derived(this.alarms.filter((a) => a.told && (a.active || !a.acked)));
  private wanted: string[] = [];
  private asking = 0;
  private readonly timers: ReturnType<typeof setInterval>[];

  constructor() {
    void this.loadAll();
    this.timers = [
      setInterval(() => void this.loadAlarms(), ALARMS_EVERY_MS),
      setInterval(() => {
        void this.loadAll();
        this.hour([...this.courses.keys()], true);
      }, HOUR_EVERY_MS),
    ];
  }

  stop(): void {
    for (const timer of this.timers) clearInterval(timer);
    this.wanted = [];
  }

  /** The last hour of these points, once each unless `again`. */
  hour(points: readonly string[], again = false): void {
    this.wanted = [...new Set([...this.wanted, ...points.filter((p) => again || !this.courses.has(p))])];
    while (this.asking < AT_ONCE && this.wanted.length > 0) void this.next(this.wanted.shift()!);
  }

  private async next(point: string): Promise<void> {
    this.asking += 1;
    try {
      const now = session.now;
      const { time, value } = await api.history(point, now - HOUR_MS, now, SAMPLES);
      this.courses = new Map(this.courses).set(point, { time, value });
    } catch (error) {
      this.problem = session.notice(error);
    } finally {
      this.asking -= 1;
      this.hour([]);
    }
  }

  /** Alarms come and go with edits of the plant only. */
  private async loadAll(): Promise<void> {
    try {
      this.all = (await api.everyAlarm()).alarms;
      await this.loadAlarms();
    } catch (error) {
      this.problem = session.notice(error);
    }
  }

  private async loadAlarms(): Promise<void> {
    if (session.stale) return;
    try {
      const [retained, rollups] = await Promise.all([api.retainedAlarms(), api.alarmRollup()]);
      this.retained = new Map(retained.alarms.map((a) => [a.id, a]));
      this.rollups = new Map(rollups.map((r) => [r.twin, r]));
      this.loaded = true;
      this.problem = null;
    } catch (error) {
      this.problem = session.notice(error);
    }
  }
}
