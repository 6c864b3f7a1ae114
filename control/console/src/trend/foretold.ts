// Forecasts beside a trend: answers of models moved to the time they speak of, and the look-ahead on the wall's clock.
import type { ForecastRecord, PointInfo, Trend } from "../wire";

/** What a model says of a point, by the names of the points that carry it. */
export interface Told {
  row: string;
  seconds: number;
  value: string;
  low: string;
  high: string;
}
export interface Band {
  /** Seconds since 1970. */
  time: number[];
  middle: (number | null)[];
  low: (number | null)[];
  high: (number | null)[];
}
export type Choice = "" | "ahead" | `${string}+${number}`;

const UNIT_S: Record<string, number> = { s: 1, min: 60, h: 3_600, d: 86_400 };

/** Of the points of one twin those that forecast `point`, the nearest first (docs/plant.md, learned models). */
export function toldOf(point: PointInfo, siblings: readonly PointInfo[]): Told[] {
  const names = new Map(siblings.map((p) => [p.property, p.name]));
  const found: Told[] = [];
  for (const { property, name } of siblings) {
    const parts = /^(.+?)_(\d+(?:_\d+)?)(s|min|h|d)$/.exec(property);
    if (!parts?.[1]!.endsWith(`_${point.property}`)) continue;
    const [low, high] = [names.get(`${property}_low`), names.get(`${property}_high`)];
    if (low === undefined || high === undefined) continue;
    const row = parts[1]!.slice(0, -point.property.length - 1);
    found.push({ row, seconds: Number(parts[2]!.replace("_", ".")) * UNIT_S[parts[3]!]!, value: name, low, high });
  }
  return found.toSorted((a, b) => a.seconds - b.seconds);
}

/** What may be chosen for these points: their models, each with a time ahead. */
export function choicesOf(told: readonly Told[]): Choice[] {
  return [...new Set(told.map(choiceOf))].toSorted();
}

export function choiceOf(told: Told): Choice {
  return `${told.row}+${told.seconds}`;
}

/** Three trends of one model as a band, moved ahead to what they speak of; they are told together, or nearly. */
export function bandOf(value: Trend, low: Trend, high: Trend, seconds: number): Band {
  const [lows, highs] = [new Map(low.time.map((t, i) => [t, low.value[i]])), new Map(high.time.map((t, i) => [t, high.value[i]]))];
  return {
    time: value.time.map((t) => t / 1000 + seconds),
    middle: value.value,
    low: value.time.map((t) => lows.get(t) ?? null),
    high: value.time.map((t) => highs.get(t) ?? null),
  };
}

/** The look-ahead's p5, p50 and p95 of a point; `rate` is how many seconds of the plant pass in one of the wall's. */
export function aheadBand(forecast: ForecastRecord, point: string, rate: number): Band | null {
  const fan = forecast.fans[point];
  if (fan?.length !== 5 || !(rate > 0)) return null;
  return {
    time: forecast.times_s.map((s) => forecast.made_at / 1000 + s / rate),
    low: fan[0]!, middle: fan[2]!, high: fan[4]!,
  };
}

/** How fast the plant's clock went over a stretch of its history; null where it stood still or nothing is known. */
export function rateOf(clock: Trend): number | null {
  const known = clock.value.flatMap((v, i) => (v === null ? [] : [[clock.time[i]! / 1000, v] as const]));
  const [first, last] = [known[0], known.at(-1)];
  if (!first || !last || last[0] <= first[0]) return null;
  const rate = (last[1] - first[1]) / (last[0] - first[0]);
  return rate > 0 ? rate : null;
}

/** Of how many moments the band held what came; null where none can be told. `actual` gives the value in force. */
export function heldShare(band: Band, actual: (time: number) => number | null, until: number): { held: number; of: number } {
  let [held, of] = [0, 0];
  for (let i = 0; i < band.time.length; i++) {
    const [time, low, high] = [band.time[i]!, band.low[i] ?? null, band.high[i] ?? null];
    const came = time <= until ? actual(time) : null;
    if (came === null || low === null || high === null) continue;
    of += 1;
    if (low <= came && came <= high) held += 1;
  }
  return { held, of };
}
