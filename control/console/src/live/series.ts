// One trend: history from the server with live values after it; must not know charts or components.
import type { Trend } from "../wire";

/** More samples than a screen has columns are of no use; memory stays bounded while a trend is left open. */
export const SAMPLES_MAX = 8_000;

export interface Reading {
  /** null: not good. */
  value: number | null;
  quality: number;
}

export class Series {
  /** Seconds since 1970, as uPlot wants them. The first may be from before the time asked for: what was in force then. */
  time: number[] = [];
  /** null is a gap: quality not good. */
  value: (number | null)[] = [];
  quality: number[] = [];
  /** Whether these are all readings of the time; else each stretch has its lowest, highest and worst. */
  whole = true;
  tier = "raw";

  load(trend: Trend): void {
    const held = trend.held ? [trend.held] : [];
    this.time = [...held.map((h) => h.time), ...trend.time].map((t) => t / 1000);
    this.value = [...held.map((h) => h.value), ...trend.value];
    this.quality = [...held.map((h) => h.quality), ...trend.quality];
    this.whole = trend.whole;
    this.tier = trend.tier;
  }

  /** A live value; of two with one time, or older than the last, the first stays. Says whether it was taken. */
  append(timeMs: number, value: number, quality: number): boolean {
    const time = timeMs / 1000;
    const last = this.time.at(-1);
    if (last !== undefined && time <= last) return false;
    this.time.push(time);
    this.value.push(quality >>> 30 === 0 && !Number.isNaN(value) ? value : null);
    this.quality.push(quality);
    if (this.time.length > SAMPLES_MAX) {
      for (const column of [this.time, this.value, this.quality]) column.splice(0, SAMPLES_MAX / 10);
    }
    return true;
  }

  /** What was in force at a time (seconds); null before the first. */
  at(time: number): Reading | null {
    let low = 0;
    let high = this.time.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.time[middle]! <= time) low = middle + 1;
      else high = middle;
    }
    return low === 0 ? null : { value: this.value[low - 1] ?? null, quality: this.quality[low - 1]! };
  }
}
