// Reads the columns of a snapshot or delta out of msgpack `bin`; must not know what the values mean.
import type { Columns } from "../wire";

export interface Batch {
  length: number;
  point: Uint32Array;
  value: Float64Array;
  quality: Uint32Array;
  source: Float64Array;
  received: Float64Array;
  text: Record<string, string>;
}

/** Throws RangeError when the columns disagree in length: a half frame must never reach the screen. */
export function decodeColumns(columns: Columns): Batch {
  const length = columns.point.byteLength / 4;
  const batch: Batch = {
    length,
    point: new Uint32Array(aligned(columns.point)),
    value: new Float64Array(aligned(columns.value)),
    quality: new Uint32Array(aligned(columns.quality)),
    source: new Float64Array(aligned(columns.source)),
    received: new Float64Array(aligned(columns.received)),
    text: columns.text,
  };
  for (const column of [batch.value, batch.quality, batch.source, batch.received]) {
    if (column.length !== length) throw new RangeError(`column of ${column.length} values beside ${length} points`);
  }
  return batch;
}

/** The same columns as JSON has them: bytes are base64 there, whatever the type says. */
export function unpacked(columns: Columns): Columns {
  const bytes = (packed: unknown): Uint8Array => Uint8Array.from(atob(String(packed)), (c) => c.charCodeAt(0));
  return {
    point: bytes(columns.point), value: bytes(columns.value), quality: bytes(columns.quality),
    source: bytes(columns.source), received: bytes(columns.received), text: columns.text,
  };
}

// msgpack `bin` starts at any byte; typed arrays must start at a multiple of their size. All our machines are
// little-endian, as the wire is.
function aligned(bytes: Uint8Array): ArrayBuffer {
  return bytes.slice().buffer as ArrayBuffer;
}
