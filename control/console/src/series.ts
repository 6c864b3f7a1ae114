// One trend: history from the server with live values after it; must not know charts or components.
import type { Trend } from "./wire";

/** More samples than a screen has columns are of no use; memory stays bounded while a trend is left open. */
export const SAMPLES_MAX = 4_000;

export class Series {
  /** Seconds since 1970, as uPlot wants them. */
  time: number[] = [];
  /** null is a gap: quality not good. */
  value: (number | null)[] = [];

  load(trend: Trend): void {
    this.time = trend.time.map((t) => t / 1000);
    this.value = trend.value.slice();
  }

  /** A live value; of two with one time, or older than the last, the first stays. Says whether it was taken. */
  append(timeMs: number, value: number, good: boolean): boolean {
    const time = timeMs / 1000;
    const last = this.time.at(-1);
    if (last !== undefined && time <= last) return false;
    this.time.push(time);
    this.value.push(good && !Number.isNaN(value) ? value : null);
    if (this.time.length > SAMPLES_MAX) {
      this.time.splice(0, SAMPLES_MAX / 10);
      this.value.splice(0, SAMPLES_MAX / 10);
    }
    return true;
  }

  /** The value in force at a time (seconds): for the reading beside the cursor. */
  at(time: number): number | null {
    let low = 0;
    let high = this.time.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.time[middle]! <= time) low = middle + 1;
      else high = middle;
    }
    return this.value[low - 1] ?? null;
  }
}
