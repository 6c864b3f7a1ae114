// Where a line may not be believed, and a trend as rows for who does not see it; must not know charts.
import { qualityWords } from "../live/freshness";

/** Samples of one point: seconds since 1970, null where not good, OPC UA quality. */
export interface Samples {
  time: readonly number[];
  value: readonly (number | null)[];
  quality: readonly number[];
}
/** Seconds since 1970. `severity` as in OPC UA: 1 uncertain, 2 and 3 bad. */
export interface Doubt {
  from: number;
  to: number;
  severity: number;
  words: string;
}
export interface Row {
  from: number;
  low: number | null;
  high: number | null;
  last: number | null;
  doubt: string;
}

/** From a sample that is not good to the next one that is, or to `end`; stretches of one quality are one. */
export function doubts(samples: Samples, end: number): Doubt[] {
  const found: Doubt[] = [];
  let open = null as Doubt | null;
  for (let i = 0; i < samples.time.length; i++) {
    const quality = samples.quality[i]! >>> 0;
    const time = samples.time[i]!;
    const words = quality >>> 30 === 0 ? "" : qualityWords(quality);
    if (open?.words === words) continue;
    if (open) found.push({ ...open, to: time });
    open = words === "" ? null : { from: time, to: end, severity: quality >>> 30, words };
  }
  if (open && end > open.from) found.push(open);
  return found;
}

/** Of `count` even stretches of [from, to] seconds the lowest, highest and last value; the last one holds until another comes. */
export function rowsOf(samples: Samples, [from, to]: readonly [number, number], count: number): Row[] {
  const width = (to - from) / count;
  const rows: Row[] = [];
  let i = 0;
  let last: number | null = null;
  let doubt = "";
  for (let n = 0; n < count; n++) {
    const end = n === count - 1 ? Infinity : from + (n + 1) * width;
    let low = last;
    let high = last;
    for (; i < samples.time.length && samples.time[i]! < end; i++) {
      const value = samples.value[i] ?? null;
      doubt = samples.quality[i]! >>> 30 === 0 ? "" : qualityWords(samples.quality[i]!);
      last = value;
      if (value === null) continue;
      low = low === null ? value : Math.min(low, value);
      high = high === null ? value : Math.max(high, value);
    }
    rows.push({ from: from + n * width, low, high, last, doubt });
  }
  return rows;
}
