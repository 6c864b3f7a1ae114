// The rows of a history batch as a bundle carries them, and their digest (docs/history.md); must not know screens.
import { joined, sha256, type Bytes } from "../audit/merkle";
import { bytesOf, Malformed } from "../audit/note";

const WIDTHS = { series: 4, value: 8, quality: 4, source_time: 8, received_time: 8, noticed: 1 } as const;
type Column = keyof typeof WIDTHS;
const COLUMNS = Object.keys(WIDTHS) as Column[];

export interface Rows {
  version: number;
  count: number;
  names: Map<number, string>;
  columns: Record<Column, Bytes>;
  text: [number, string][];
}

export interface Reading {
  row: number;
  value: number | null;
  text: string | null;
  quality: number;
}

export function parseRows(given: unknown): Rows {
  const data = given as { version: number; series: Record<string, string>; columns: Record<Column, string>; text: [number, string][] };
  if (typeof given !== "object" || given === null || (data.version !== 1 && data.version !== 2)) throw new Malformed("no rows of version 1 or 2");
  const columns = Object.fromEntries(COLUMNS.map((name) => [name, bytesOf(data.columns[name])])) as Record<Column, Bytes>;
  const count = columns.series.length / WIDTHS.series;
  for (const name of COLUMNS) {
    const rows = name === "noticed" && data.version === 1 ? 0 : count;
    if (columns[name].length !== rows * WIDTHS[name]) throw new Malformed(`column ${name} does not have ${rows} rows`);
  }
  const names = new Map(Object.entries(data.series).map(([id, name]) => [Number(id), name]));
  const used = new Set(idsOf(columns.series));
  if (used.size !== names.size || ![...used].every((id) => names.has(id))) throw new Malformed("names of other series than the rows have");
  return { version: data.version, count, names, columns, text: data.text };
}

/** SHA-256 of the rows as batch number `batch`. */
export async function digestOf(rows: Rows, batch: number): Promise<Bytes> {
  const used = [...rows.names.keys()].sort((a, b) => a - b);
  const parts: Bytes[] = [];
  const text = (value: unknown): Bytes => new TextEncoder().encode(canonical(value));
  if (rows.version === 2) {
    const ids = new DataView(new ArrayBuffer(4 * used.length));
    used.forEach((id, i) => ids.setInt32(4 * i, id, true));
    parts.push(new Uint8Array(ids.buffer));
    for (const id of used) parts.push(await sha256(new TextEncoder().encode(rows.names.get(id)!)));
  }
  const series = rows.version === 2 ? used.length : Object.fromEntries(rows.names);
  parts.push(text({ v: rows.version, batch, rows: rows.count, series }), new Uint8Array([10]));
  for (const name of COLUMNS) parts.push(rows.columns[name]);
  const said = new Map(rows.text);
  parts.push(text(rows.version === 2 ? rows.text : Array.from({ length: rows.count }, (_, row) => said.get(row) ?? null)));
  return sha256(joined(...parts));
}

/** The last row of a point and source time (ns, as text), null where there is none. */
export function readingOf(rows: Rows, point: string, sourceTime: string): Reading | null {
  if (!/^\d{1,19}$/.test(sourceTime)) return null;
  const view = (name: Column): DataView => new DataView(rows.columns[name].buffer, rows.columns[name].byteOffset);
  const ids = idsOf(rows.columns.series);
  const [times, values, qualities] = [view("source_time"), view("value"), view("quality")];
  for (let row = rows.count - 1; row >= 0; row--) {
    if (rows.names.get(ids[row]!) !== point || times.getBigInt64(8 * row, true) !== BigInt(sourceTime)) continue;
    const value = values.getFloat64(8 * row, true);
    return { row, value: Number.isNaN(value) ? null : value, text: new Map(rows.text).get(row) ?? null, quality: qualities.getUint32(4 * row, true) };
  }
  return null;
}

/** JSON as the server hashes it: keys sorted, no spaces, ASCII. Whole numbers only: floats have many texts. */
export function canonical(value: unknown): string {
  if (value === null || typeof value === "boolean") return String(value);
  if (typeof value === "number") {
    if (!Number.isSafeInteger(value)) throw new Malformed(`${value} cannot be checked in a browser`);
    return String(value);
  }
  if (typeof value === "string") {
    return JSON.stringify(value).replace(/[^\x20-\x7e]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
  }
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  const object = value as Record<string, unknown>;
  return `{${Object.keys(object).sort().map((key) => `${canonical(key)}:${canonical(object[key])}`).join(",")}}`;
}

function idsOf(series: Bytes): number[] {
  const view = new DataView(series.buffer, series.byteOffset);
  return Array.from({ length: series.length / 4 }, (_, row) => view.getInt32(4 * row, true));
}
