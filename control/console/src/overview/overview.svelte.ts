// What the overview asks the server for besides what is live: which alarms there are, with their limits, and the last hour of
// figures.
import * as api from "../api";
import { CourseQueue } from "./courseQueue";
import { asNow, type Limit, limitsOf, type Standing, standingOf } from "./overview";
import { session } from "../live/session.svelte";
import type { AlarmRecord, ErrorBody } from "../wire";

export const HOUR_MS = 3_600_000;
const EVERY_MS = 60_000;
const SAMPLES = 150;
/** The server's own limit of one list. */
const ALARMS_MOST = 5_000;
const AT_ONCE = 4;
const PAUSE_MS = 10_000;

export interface Course {
  time: number[];
  value: (number | null)[];
}

export class Overview {
  private all = $state.raw<AlarmRecord[]>([]);
  problem = $state.raw<ErrorBody | null>(null);
  courses = $state.raw<ReadonlyMap<string, Course>>(new Map());
  /** All alarms of the plant, whatever their state. */
  readonly alarms = $derived.by(() => {
    void session.alarms.news;
    return asNow(this.all, session.alarms.book.rows);
  });
  readonly limits = $derived<Map<string, Limit[]>>(limitsOf(this.all));
  /** Alarms that are kept from people: shelved, suppressed, by design, out of service. */
  readonly silent = $derived.by<ReadonlySet<string>>(() => {
    void session.alarms.news;
    return new Set([...session.alarms.book.rows.values()].filter((a) => !a.told).map((a) => a.id));
  });
  /** Point -> the highest of its alarms that are active. */
  readonly standing = $derived.by<ReadonlyMap<string, Standing>>(() => {
    void session.alarms.news;
    return standingOf(session.alarms.book.rows.values());
  });
  private readonly queue = new CourseQueue(AT_ONCE, PAUSE_MS);
  private stopped = false;
  private readonly timers: ReturnType<typeof setInterval>[];

  constructor() {
    this.timers = [setInterval(() => this.load(), EVERY_MS), setInterval(() => this.read(), PAUSE_MS)];
  }

  /** All that is not live, anew: at first, after a hole, and as time goes on. */
  load(): void {
    void this.loadAll();
    this.queue.again();
    this.read();
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
      this.problem = null;
    } catch (error) {
      this.queue.failed(point, session.now);
      this.problem = session.notice(error);
    }
    this.read();
  }

  /** Alarms come and go with edits of the plant only; how they stand is the session's. */
  private async loadAll(): Promise<void> {
    try {
      this.all = (await api.alarms({ state: "all", limit: String(ALARMS_MOST) })).alarms;
      this.problem = null;
    } catch (error) {
      this.problem = session.notice(error);
    }
  }
}
