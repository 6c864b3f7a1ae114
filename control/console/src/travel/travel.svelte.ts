// Where the time conductor stands: the moment, the range around it, what happened in it, playing; the address is told by `words`.
import * as api from "../api";
import { Past } from "./past.svelte";
import { session } from "../live/session.svelte";
import { endFor, type LinkChange, type Mark, marksOf, stepFrom } from "./travel";
import type { ErrorBody, Happening } from "../wire";

export const SPEEDS = [1, 10, 60, 600] as const;
const PLAY_EVERY_MS = 250;
/** Happenings of one range; a page is the server's most. */
const PAGE = 1_000;
const PAGES_MOST = 5;
const LINKS_MOST = 2_000;
const SPAN_S = 3_600;

export class Travel {
  readonly past = new Past();
  at = $state(0);
  end = $state(0);
  spanS = $state(SPAN_S);
  /** Bi-temporal: by what had been heard at that moment, not by what is known today. */
  asKnown = $state(false);
  a = $state<number | null>(null);
  b = $state<number | null>(null);
  /** 0: it stands still. */
  speed = $state(0);
  marks = $state.raw<Mark[]>([]);
  /** There were more happenings than are shown. */
  more = $state(false);
  loading = $state(true);
  problem = $state.raw<ErrorBody | null>(null);
  chosen = $state.raw<Mark[]>([]);
  private timer: ReturnType<typeof setInterval> | undefined;
  private asked = 0;

  constructor(query: URLSearchParams) {
    const number = (name: string): number | null => Number(query.get(name)) || null;
    const now = session.now;
    this.spanS = number("range") ?? SPAN_S;
    this.asKnown = query.get("known") === "then";
    [this.a, this.b] = [number("a"), number("b")];
    this.at = Math.min(number("at") ?? now, now);
    this.end = endFor(this.at, now, this.spanS * 1000, now);
    this.ask();
    void this.load();
  }

  get start(): number {
    return this.end - this.spanS * 1000;
  }

  words(): Record<string, string> {
    const words: Record<string, string> = { at: String(Math.round(this.at)), range: String(this.spanS) };
    if (this.asKnown) words["known"] = "then";
    if (this.a !== null) words["a"] = String(Math.round(this.a));
    if (this.b !== null) words["b"] = String(Math.round(this.b));
    return words;
  }

  go(at: number): void {
    this.at = Math.min(at, session.now);
    const end = endFor(this.at, this.end, this.spanS * 1000, session.now);
    if (end !== this.end) this.move(end);
    this.ask();
  }

  /** To the next (1) or previous (−1) thing that happened; false: there is none in this range. */
  step(way: 1 | -1): boolean {
    this.stop();
    const mark = stepFrom(this.marks, this.at, way);
    if (mark) this.choose(this.marks.filter((m) => m.time === mark.time));
    return mark !== undefined;
  }

  /** Shows when it happened, and what it was. */
  choose(marks: Mark[]): void {
    this.chosen = marks;
    if (marks[0]) this.go(marks[0].time);
  }

  toNow(): void {
    this.stop();
    this.chosen = [];
    this.move(session.now);
    this.go(session.now);
  }

  range(seconds: number): void {
    this.spanS = seconds;
    this.move(endFor(this.at, Math.min(session.now, this.at + seconds * 500), seconds * 1000, session.now));
  }

  /** Half a range earlier or later; the moment goes with it. */
  shift(way: 1 | -1): void {
    const by = way * this.spanS * 500;
    const end = Math.min(session.now, this.end + by);
    this.at += end - this.end;
    this.move(end);
    this.ask();
  }

  setKnown(asKnown: boolean): void {
    this.asKnown = asKnown;
    this.ask();
  }

  play(speed: number): void {
    this.stop();
    this.speed = speed;
    this.timer = setInterval(() => {
      const to = this.at + speed * PLAY_EVERY_MS;
      if (to >= session.now) this.stop();
      this.go(to);
    }, PLAY_EVERY_MS);
  }

  stop(): void {
    clearInterval(this.timer);
    this.speed = 0;
  }

  private move(end: number): void {
    this.end = end;
    void this.load();
  }

  private ask(): void {
    this.past.show(this.at, this.asKnown ? this.at : null);
  }

  async load(): Promise<void> {
    const mine = ++this.asked;
    this.loading = true;
    try {
      const [found, links] = await Promise.all([allOf(this.start, this.end), linksOf(this.start, this.end)]);
      if (mine !== this.asked) return;
      this.marks = marksOf(found.happenings, links);
      this.more = found.more;
      this.problem = null;
    } catch (error) {
      if (mine === this.asked) this.problem = session.notice(error);
    } finally {
      if (mine === this.asked) this.loading = false;
    }
  }
}

/** The newest of a span, as many as are shown. */
export async function allOf(start: number, end: number): Promise<{ happenings: Happening[]; more: boolean }> {
  const happenings: Happening[] = [];
  let before: number | null = null;
  for (let page = 0; page < PAGES_MOST; page++) {
    const found = await api.happenings(start, end, PAGE, before);
    happenings.push(...found.happenings);
    before = found.next;
    if (before === null) break;
  }
  return { happenings, more: before !== null };
}

async function linksOf(start: number, end: number): Promise<LinkChange[]> {
  const devices = session.plant?.devices ?? [];
  if (devices.length === 0) return [];
  const names = devices.map((d) => `'${d.id.replaceAll("'", "''")}.state'`).join(", ");
  const ns = (ms: number): string => `make_timestamp_ns(${Math.round(ms)}000000)`;
  const { rows } = await api.query(
    `SELECT point, text, epoch_ms(source_time::TIMESTAMP) FROM history WHERE point IN (${names}) AND text IS NOT NULL ` +
      `AND source_time BETWEEN ${ns(start)} AND ${ns(end)} ORDER BY source_time DESC`,
    LINKS_MOST,
  );
  return rows.map(([point, state, time]) => ({ device: String(point).replace(/\.state$/, ""), state: String(state), time: Number(time) }));
}
