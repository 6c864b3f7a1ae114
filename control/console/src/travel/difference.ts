// What differs between two moments of the whole plant; must not know components or the server.
import type { Batch } from "../live/columns";
import { qualityWords } from "../live/freshness";
import { type Cell, csv } from "../save";
import type { PointInfo } from "../wire";
import { valueWords } from "../words";

export interface Told {
  value: number;
  quality: number;
  text: string | undefined;
}

export interface Difference {
  point: PointInfo;
  /** Undefined: there was no reading yet. */
  a: Told | undefined;
  b: Told | undefined;
  /** b − a, null where either is no number. */
  change: number | null;
  /** `change` as a part of the point's range, or of the larger value where the range is open. */
  share: number | null;
  what: "value" | "quality" | "text" | "first read" | "not yet read";
}

export type Order = "share" | "change" | "point";

export function differences(points: readonly PointInfo[], a: Batch, b: Batch): Difference[] {
  const [before, after] = [tellings(a), tellings(b)];
  return points.flatMap((point) => {
    const [x, y] = [before.get(point.id), after.get(point.id)];
    const what = whatOf(x, y);
    if (what === null) return [];
    const change = x && y && Number.isFinite(x.value) && Number.isFinite(y.value) ? y.value - x.value : null;
    return [{ point, a: x, b: y, change, share: change === null ? null : shareOf(point, x!.value, y!.value), what }];
  });
}

/** The largest first; what has no size comes first, because it is another thing and not more of the same. */
export function ordered(rows: readonly Difference[], order: Order): Difference[] {
  const size = (d: Difference): number => Math.abs((order === "change" ? d.change : d.share) ?? Infinity);
  if (order === "point") return rows.toSorted((p, q) => p.point.name.localeCompare(q.point.name));
  return rows.toSorted((p, q) => size(q) - size(p) || p.point.name.localeCompare(q.point.name));
}

/** Words of the filter, all of which must stand in the point's name, kind of change, or unit. */
export function filtered(rows: readonly Difference[], words: string): Difference[] {
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
  return rows.filter((d) => {
    const said = `${d.point.name} ${d.point.title} ${d.what} ${d.point.unit}`.toLowerCase();
    return wanted.every((w) => said.includes(w));
  });
}

export function csvOf(rows: readonly Difference[], atA: number, atB: number): string {
  const head = ["point", "twin", "unit", "differs in", new Date(atA).toISOString(), new Date(atB).toISOString(), "change", "share", "quality then", "quality after"];
  const cells: Cell[][] = rows.map((d) => [
    d.point.name, d.point.twin, d.point.unit, d.what, plain(d.point, d.a), plain(d.point, d.b), d.change, d.share,
    d.a ? qualityWords(d.a.quality) : "", d.b ? qualityWords(d.b.quality) : "",
  ]);
  return csv(head, cells);
}

function tellings(batch: Batch): Map<number, Told> {
  const found = new Map<number, Told>();
  for (let i = 0; i < batch.length; i++) {
    const id = batch.point[i]!;
    found.set(id, { value: batch.value[i]!, quality: batch.quality[i]!, text: batch.text[String(id)] });
  }
  return found;
}

function whatOf(a: Told | undefined, b: Told | undefined): Difference["what"] | null {
  if (!a || !b) return a ? "not yet read" : b ? "first read" : null;
  if (!Object.is(a.value, b.value) && !(a.value === b.value)) return "value";
  if (a.text !== b.text) return "text";
  return a.quality === b.quality ? null : "quality";
}

function shareOf(point: PointInfo, a: number, b: number): number {
  const range = point.low !== null && point.high !== null ? point.high - point.low : Math.max(Math.abs(a), Math.abs(b));
  return range > 0 ? (b - a) / range : 0;
}

function plain(point: PointInfo, told: Told | undefined): string | number {
  if (!told) return "";
  return point.names.length > 0 || Number.isNaN(told.value) ? valueWords(point, told.value, told.text) : told.value;
}
