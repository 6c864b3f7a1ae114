// The alarms, kept up to date by their events: one fetch with each connection, and then steps; must not know how they are
// shown. A flood is taken as it comes and drawn once a frame.
import { AlarmBook, type AlarmCounts, countsOf, mostUrgent } from "./alarms";
import { countUp, rollUp, type TwinAlarms } from "./alarmTree";
import type { Verb } from "./alarmVerbs";
import * as api from "../api";
import type { AlarmChange, AlarmRecord, AlarmRollup, AlarmShelfRequest, AlarmVerb, AlarmVerbAnswer, ErrorBody } from "../wire";

/** The server's own limit of one list: the most urgent of a plant that has more. */
const LISTED_MOST = 5_000;
/** What nobody can tell has no events of its own. */
const LOOK_MS = 10_000;
const RETRY_MS = 2_000;

export interface Flood {
  on: boolean;
  /** How many rang in ten minutes when it was last said. */
  count: number;
}

export class Alarms {
  readonly book = new AlarmBook();
  /** Grows at most once an animation frame, when steps came: whoever shows alarms reads it. */
  news = $state(0);
  /** Grows with every list: steps between two of them may not have been heard. */
  lists = $state(0);
  /** Whether a list has come since the page was opened. */
  known = $state(false);
  problem = $state.raw<ErrorBody | null>(null);
  counts = $state.raw<AlarmCounts>(countsOf([]));
  /** The most urgent that nobody has acknowledged. */
  first = $state.raw<AlarmRecord | null>(null);
  flood = $state.raw<Flood>({ on: false, count: 0 });
  /** How many stand that are not in the list. */
  left = $state(0);
  /** Of how many nobody can tell whether they hold. */
  blind = $state(0);
  /** Twin -> how many of its own and its parts' alarms cannot be told. */
  blindOf = $state.raw<ReadonlyMap<string, number>>(new Map());
  ofTwin = $state.raw<ReadonlyMap<string, TwinAlarms>>(new Map());
  /** Of every twin with its parts; those that are as usual have none. */
  readonly countsOfTwin = $derived.by(() => {
    void this.news;
    return countUp(this.book.rows.values(), this.wholeOf());
  });
  shelveOperatorS = $state(0);

  /** Rang since it was last drawn. */
  private rung = 0;
  private drawing = false;
  private loading = false;
  private again = false;
  private retry: ReturnType<typeof setTimeout> | undefined;
  private look: ReturnType<typeof setInterval> | undefined;

  constructor(
    private readonly notice: (error: unknown) => ErrorBody,
    /** Twin -> the twin that it is part of. */
    private readonly wholeOf: () => ReadonlyMap<string, string>,
  ) {}

  /** After each connection, and when steps are missing. What happens meanwhile is taken after it. */
  async load(): Promise<void> {
    this.again = true;
    if (this.loading) return;
    this.loading = true;
    clearTimeout(this.retry);
    try {
      while (this.again) {
        this.again = false;
        this.book.hold();
        const list = await api.alarms({ state: "retained", limit: String(LISTED_MOST) });
        if (!this.book.begin(list)) this.again = true;
        this.left = list.total - list.alarms.length;
        this.flood = { on: list.flood, count: list.rate_10min };
        this.shelveOperatorS = list.shelve_operator_s;
        this.known = true;
        this.lists += 1;
        this.problem = null;
        this.draw();
      }
      void this.lookForBlind();
      this.look ??= setInterval(() => void this.lookForBlind(), LOOK_MS);
    } catch (error) {
      this.problem = this.notice(error);
      if (this.problem.code !== "denied") this.retry = setTimeout(() => void this.load(), RETRY_MS);
    } finally {
      this.loading = false;
    }
  }

  /** Of one kind of event; false: it is not ours. */
  happened(kind: string, body: unknown): boolean {
    if (kind === "alarm_flood") {
      const { on, count, n } = body as Flood & { n: number };
      this.book.flood(n);
      this.flood = { on, count };
      return true;
    }
    if (kind !== "alarm") return false;
    const { changes } = body as { changes: AlarmChange[] };
    this.rung += changes.filter((c) => c.rings && c.n > this.book.n && c.alarm.priority !== "journal").length;
    if (!this.book.take(changes)) void this.load();
    this.draw();
    return true;
  }

  /** What became of it, alarm by alarm, or what went wrong. The steps themselves come as events. */
  async act(verb: Verb, body: AlarmVerb | AlarmShelfRequest): Promise<AlarmVerbAnswer | ErrorBody> {
    try {
      return await api.onAlarms(verb, body);
    } catch (error) {
      return this.notice(error);
    }
  }

  private async lookForBlind(): Promise<void> {
    if (document.visibilityState !== "visible") return;
    try {
      const [list, up] = await Promise.all([api.alarms({ state: "blind", limit: "1" }), api.alarmRollup()]);
      this.blind = list.total;
      if (list.flood === this.flood.on) this.flood = { on: list.flood, count: list.rate_10min };
      const blind = new Map(up.filter((r: AlarmRollup) => r.blind > 0).map((r) => [r.twin, r.blind]));
      this.blindOf = blind;
    } catch (error) {
      this.notice(error);
    }
  }

  /** Steps may come faster than the screen draws: many of them make one drawing. */
  private draw(): void {
    if (this.drawing) return;
    this.drawing = true;
    requestAnimationFrame(() => {
      this.drawing = false;
      // The server says the number when it begins and ends; between, it is counted on.
      if (this.flood.on && this.rung > 0) this.flood = { on: true, count: this.flood.count + this.rung };
      this.rung = 0;
      const alarms = [...this.book.rows.values()];
      this.counts = countsOf(alarms);
      this.first = mostUrgent(alarms);
      this.ofTwin = rollUp(alarms, this.wholeOf());
      this.news += 1;
    });
  }
}
