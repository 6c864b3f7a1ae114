// What trends hold: lines of points, yesterday's, forecasts and what happened; must not know how they are drawn.
import * as api from "../api";
import { Newest } from "../live/newest";
import { Series } from "../live/series";
import { session } from "../live/session.svelte";
import { aheadBand, bandOf, choiceOf, rateOf, toldOf, type Band, type Choice } from "./foretold";
import { happenings, type Happening } from "./happenings";
import type { Window } from "./span";
import type { ErrorBody, PointInfo, Trend } from "../wire";

const SAMPLES_MAX = 5_000;
/** Of every column of pixels its lowest, highest and worst reading. */
const A_PIXEL = 3;
const DAY_MS = 86_400_000;
const STEPS_MOST = 2_000;
const COMMANDS_MOST = 500;
const CLOCK_MS = 300_000;

export class Line {
  readonly series = new Series();
  yesterday: Series | null = null;
  band = $state.raw<Band | null>(null);
  loaded = $state(false);
  problem = $state.raw<ErrorBody | null>(null);
  /** Grows when the line is another. */
  version = $state(0);
  private readonly history = new Newest();
  private readonly forecast = new Newest();
  private seenFrame = 0;

  constructor(readonly point: PointInfo) {}

  async load([from, to]: Window, samples: number, yesterday: boolean): Promise<void> {
    const counts = this.history.ask();
    try {
      const [now, then] = await Promise.all([
        api.history(this.point.name, from, to, samples),
        yesterday ? api.history(this.point.name, from - DAY_MS, to - DAY_MS, samples) : null,
      ]);
      if (!counts()) return;
      this.series.load(now);
      this.yesterday = then === null ? null : dayLater(then);
      this.problem = null;
      this.loaded = true;
      this.version += 1;
    } catch (error) {
      if (counts()) this.problem = session.notice(error);
    }
  }

  /** The newest value of the table, when it is newer than what is held. */
  follow(): void {
    const { table } = session;
    const id = this.point.id;
    const frame = table.frame[id]!;
    if (!this.loaded || frame === this.seenFrame) return;
    this.seenFrame = frame;
    if (this.series.append(table.source[id]!, table.value[id]!, table.quality[id]!)) this.version += 1;
  }

  async foretell(choice: Choice, [from, to]: Window, samples: number, rate: number | null): Promise<void> {
    const counts = this.forecast.ask();
    if (choice === "" || choice === "ahead") {
      const forecast = session.ahead.state?.forecast ?? null;
      this.band = choice === "" || forecast === null || rate === null ? null : aheadBand(forecast, this.point.name, rate);
      return;
    }
    const told = toldOf(this.point, session.pointsOfTwin.get(this.point.twin) ?? []).find((t) => choiceOf(t) === choice);
    if (told === undefined) {
      this.band = null;
      return;
    }
    const before = told.seconds * 1000;
    try {
      const trends = await Promise.all([told.value, told.low, told.high].map((n) => api.history(n, from - before, to - before, samples)));
      if (counts()) this.band = bandOf(trends[0]!, trends[1]!, trends[2]!, told.seconds);
    } catch (error) {
      if (counts()) this.problem = session.notice(error);
    }
  }
}

export class Trends {
  lines = $state.raw<Line[]>([]);
  happened = $state.raw<Happening[]>([]);
  /** Why there may be more that happened, "" when all is listed. */
  left = $state("");
  problem = $state.raw<ErrorBody | null>(null);
  /** Seconds of the plant in one of the wall's; null while it is not known. */
  rate = $state<number | null>(null);
  private readonly loads = new Newest();
  private readonly listing = new Newest();

  /** Lines that stay keep what they hold. A point with another id is of another life of the server: its line begins anew. */
  show(points: readonly PointInfo[]): void {
    const held = new Map(this.lines.map((line) => [line.point.name, line]));
    this.lines = points.map((point) => {
      const line = held.get(point.name);
      return line?.point.id === point.id ? line : new Line(point);
    });
  }

  async load(window: Window, width: number, yesterday: boolean, choice: Choice, now: number): Promise<void> {
    const samples = Math.min(SAMPLES_MAX, A_PIXEL * Math.max(100, Math.round(width)));
    const read = this.lines.map((line) => line.load([window[0], Math.min(window[1], now)], samples, yesterday));
    const counts = this.loads.ask();
    if (choice === "ahead") await this.loadRate(now);
    if (!counts()) return;
    await Promise.all([...read, ...this.lines.map((line) => line.foretell(choice, window, samples, this.rate))]);
  }

  async loadHappenings(window: Window): Promise<void> {
    const counts = this.listing.ask();
    const twins = new Set(this.lines.map((line) => line.point.twin));
    try {
      const [steps, commands] = await Promise.all([api.alarmSteps(window[0], window[1], STEPS_MOST), api.commands(COMMANDS_MOST)]);
      if (!counts()) return;
      const oldest = commands.at(-1)?.transitions[0]?.time ?? 0;
      this.left = steps.length >= STEPS_MOST ? `Only the newest ${STEPS_MOST} steps of alarms are listed.`
        : commands.length >= COMMANDS_MOST && oldest > window[0] ? `Only the newest ${COMMANDS_MOST} commands are listed.` : "";
      this.happened = happenings(steps, commands, twins, window);
      this.problem = null;
    } catch (error) {
      if (counts()) this.problem = session.notice(error);
    }
  }

  private async loadRate(now: number): Promise<void> {
    const clock = session.plant?.clock ?? null;
    try {
      this.rate = clock === null ? 1 : rateOf(await api.history(clock, now - CLOCK_MS, now, 300));
    } catch (error) {
      this.problem = session.notice(error);
    }
  }
}

function dayLater(trend: Trend): Series {
  const series = new Series();
  series.load({ ...trend, time: trend.time.map((t) => t + DAY_MS) });
  return series;
}
