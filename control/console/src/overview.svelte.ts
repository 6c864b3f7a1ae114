// What the overview asks the server for besides live values: alarms, their limits and roll-ups, and the last hour of figures.
import * as api from "./api";
import { CourseQueue } from "./courseQueue";
import { type Limit, limitsOf } from "./overview";
import { session } from "./session.svelte";
import type { AlarmRecord, AlarmRollup, ErrorBody } from "./wire";

export const HOUR_MS = 3_600_000;
const ALARMS_EVERY_MS = 2_000;
const HOUR_EVERY_MS = 60_000;
const SAMPLES = 150;
const AT_ONCE = 4;
const PAUSE_MS = 10_000;

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
  private readonly queue = new CourseQueue(AT_ONCE, PAUSE_MS);
  private stopped = false;
  private readonly timers: ReturnType<typeof setInterval>[];

  constructor() {
    void this.loadAll();
    this.timers = [
      setInterval(() => void this.loadAlarms(), ALARMS_EVERY_MS),
      setInterval(() => {
        void this.loadAll();
        this.queue.again();
        this.read();
      }, HOUR_EVERY_MS),
      setInterval(() => this.read(), PAUSE_MS),
    ];
  }

  stop(): void {
    for (const timer of this.timers) clearInterval(timer);
    this.stopped = true;
  }

  /** Keeps the last hour of a point while somebody looks at it; returns how to end that. */
  watch(point: string): () => void {
    this.queue.watch(point);
    this.read();
    return () => this.queue.leave(point);
  }

  /** What is due, when the server is there: one that is away is asked for nothing. */
  private read(): void {
    if (this.stopped || session.stale) return;
    for (const point of this.queue.take(session.now)) void this.readHour(point);
  }

  private async readHour(point: string): Promise<void> {
    const now = session.now;
    try {
      const { time, value } = await api.history(point, now - HOUR_MS, now, SAMPLES);
      this.queue.answered(point);
      this.courses = new Map(this.courses).set(point, { time, value });
    } catch (error) {
      this.queue.failed(point, session.now);
      this.problem = session.notice(error);
    }
    this.read();
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
