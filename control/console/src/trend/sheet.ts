// What is shown as text for a spreadsheet; must not know how it is saved.
import { qualityWords } from "../freshness";

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
  const rows = ["time_utc,point,value,unit,quality,data"];
  for (const line of lines) {
    const data = line.whole ? "raw" : `decimated (${line.tier})`;
    for (let i = 0; i < line.time.length; i++) {
      const ms = line.time[i]! * 1000;
      if (ms < from || ms > to) continue;
      const value = line.value[i] ?? "";
      rows.push([new Date(ms).toISOString(), line.point, value, quoted(line.unit), quoted(qualityWords(line.quality[i]!)), data].join(","));
    }
  }
  return `${rows.join("\r\n")}\r\n`;
}

function quoted(text: string): string {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
