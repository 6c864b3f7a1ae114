import { expect, test } from "vitest";
import { decodeColumns } from "./columns";
import type { Columns } from "../wire";

/** The bytes of a typed array at an odd offset, as msgpack hands them out. */
function unaligned(array: ArrayBufferView): Uint8Array {
  const bytes = new Uint8Array(array.byteLength + 3);
  bytes.set(new Uint8Array(array.buffer, array.byteOffset, array.byteLength), 3);
  return bytes.subarray(3);
}

function columns(value: number[]): Columns {
  return {
    point: unaligned(Uint32Array.of(7, 70_000)),
    value: unaligned(Float64Array.from(value)),
    quality: unaligned(Uint32Array.of(0, 0x80050000)),
    source: unaligned(Float64Array.of(1.7e12, 1.7e12 + 0.5)),
    received: unaligned(Float64Array.of(1.7e12, 1.7e12)),
    text: { "7": "online" },
  };
}

test("columns are read at any offset and keep ids past 65535 and half milliseconds", () => {
  const batch = decodeColumns(columns([4.25, NaN]));
  expect([...batch.point]).toEqual([7, 70_000]);
  expect([...batch.value]).toEqual([4.25, NaN]);
  expect(batch.quality[1]).toBe(0x80050000);
  expect(batch.source[1]).toBe(1.7e12 + 0.5);
});

test("a frame whose columns differ in length is refused whole", () => {
  expect(() => decodeColumns(columns([1]))).toThrow(RangeError);
});
