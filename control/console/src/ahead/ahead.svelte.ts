// What the standing look-ahead says, kept up to date by its events; must not know how it is shown.
import * as api from "../api";
import type { ErrorBody, LookaheadScores, LookaheadState, PredictedAlarm } from "../wire";

/** Newest predicted alarms that are listed with what became of them. */
const ALARMS_SHOWN = 50;
const RETRY_MS = 2_000;

export class Ahead {
  state = $state.raw<LookaheadState | null>(null);
  problem = $state.raw<ErrorBody | null>(null);
  history = $state.raw<PredictedAlarm[] | null>(null);
  scores = $state.raw<LookaheadScores | null>(null);
  /** Grows when predicted alarms begin or end, and with each forecast: then the track record may be another. */
  news = $state(0);
  /** Predicted alarms that are not shelved. Nothing else may be shown as predicted. */
  standing = $derived.by(() => {
    const shelved = new Set(this.state?.shelves.map((s) => s.limit));
    return (this.state?.alarms ?? []).filter((a) => !shelved.has(a.limit));
  });
  /** Whether they are of a forecast that can no longer be believed. */
  stale = $derived(this.state?.state === "stale");

  private loading = false;
  private again = false;
  private later: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly notice: (error: unknown) => ErrorBody) {}

  /** Events that come while it is fetched make one more fetch, not many. */
  async load(): Promise<void> {
    this.again = true;
    if (this.loading) return;
    this.loading = true;
    try {
      while (this.again) {
        this.again = false;
        this.state = await api.lookahead();
        this.problem = null;
      }
    } catch (error) {
      this.problem = this.notice(error);
      clearTimeout(this.later);
      if (this.problem.code !== "denied") this.later = setTimeout(() => void this.load(), RETRY_MS);
    } finally {
      this.loading = false;
    }
  }

  /** What only the view needs. */
  async loadRecord(): Promise<void> {
    try {
      [this.history, this.scores] = await Promise.all([api.predictedAlarms(ALARMS_SHOWN), api.lookaheadScores()]);
    } catch (error) {
      this.problem = this.notice(error);
    }
  }

  /** What went wrong, or null. */
  async shelve(limit: string, forS: number, reason: string): Promise<ErrorBody | null> {
    return this.act(api.shelve({ limit, for_s: forS, reason }));
  }

  async unshelve(limit: string): Promise<ErrorBody | null> {
    return this.act(api.unshelve(limit));
  }

  /** Of one kind of event; false: it is not ours. */
  happened(kind: string): boolean {
    if (kind !== "lookahead" && kind !== "predicted_alarm") return false;
    this.news += 1;
    void this.load();
    return true;
  }

  private async act(call: Promise<unknown>): Promise<ErrorBody | null> {
    try {
      await call;
      await this.load();
      return null;
    } catch (error) {
      return this.notice(error);
    }
  }
}
