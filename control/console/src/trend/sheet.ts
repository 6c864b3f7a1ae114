// What is shown as text for a spreadsheet; must not know how it is saved.
import { qualityWords } from "../live/freshness";
import { type Cell, csv } from "../save";

export interface SheetLine {
  point: string;
  unit: string;
  time: readonly number[];
  value: readonly (number | null)[];
  quality: readonly number[];
  /** Whether these are all readings of that time. */
  whole: boolean;
  tier: string;
}

/** Raw readings, or the lowest, highest and worst of each stretch: each row says which. */
export function csvOf(lines: readonly SheetLine[], [from, to]: readonly [number, number]): string {
  const rows: Cell[][] = [];
  for (const line of lines) {
    const data = line.whole ? "raw" : `decimated (${line.tier})`;
    for (let i = 0; i < line.time.length; i++) {
      const ms = line.time[i]! * 1000;
      if (ms < from || ms > to) continue;
      rows.push([new Date(ms).toISOString(), line.point, line.value[i] ?? null, line.unit, qualityWords(line.quality[i]!), data]);
    }
  }
  return csv(["time_utc", "point", "value", "unit", "quality", "data"], rows);
}
