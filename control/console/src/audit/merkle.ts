// RFC 6962 hashes and proofs, recomputed with what the browser itself has; must not know bundles or screens.

export type Bytes = Uint8Array<ArrayBuffer>;

export async function sha256(data: Bytes): Promise<Bytes> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", data));
}

/** The hash of a leaf, SHA-256(0x00 || data). */
export const leafHash = (data: Bytes): Promise<Bytes> => sha256(joined(new Uint8Array([0]), data));

const nodeHash = (left: Bytes, right: Bytes): Promise<Bytes> => sha256(joined(new Uint8Array([1]), left, right));

/** RFC 9162 2.1.3.2: whether `leaf` is number `index` of the `size` leaves under `root`. */
export async function verifyInclusion(leaf: Bytes, index: number, size: number, proof: Bytes[], root: Bytes): Promise<boolean> {
  if (!isCount(index) || !isCount(size) || index >= size || ![leaf, root, ...proof].every(isHash)) return false;
  let node = index;
  let last = size - 1;
  let computed = leaf;
  for (const sibling of proof) {
    if (last === 0) return false;
    if (node % 2 === 1 || node === last) {
      computed = await nodeHash(sibling, computed);
      while (node % 2 === 0 && node > 0) {
        node = half(node);
        last = half(last);
      }
    } else {
      computed = await nodeHash(computed, sibling);
    }
    node = half(node);
    last = half(last);
  }
  return last === 0 && same(computed, root);
}

/** RFC 9162 2.1.4.2: whether the tree under `newRoot` begins with the one under `oldRoot`. Size 0 proves nothing. */
export async function verifyConsistency(oldSize: number, oldRoot: Bytes, newSize: number, newRoot: Bytes, proof: Bytes[]): Promise<boolean> {
  if (!isCount(oldSize) || !isCount(newSize) || oldSize === 0 || ![oldRoot, newRoot, ...proof].every(isHash)) return false;
  if (oldSize >= newSize) return oldSize === newSize && proof.length === 0 && same(oldRoot, newRoot);
  const path = isPowerOfTwo(oldSize) ? [oldRoot, ...proof] : [...proof];
  const first = path.shift();
  if (first === undefined) return false;
  let node = oldSize - 1;
  let last = newSize - 1;
  while (node % 2 === 1) {
    node = half(node);
    last = half(last);
  }
  let [older, newer] = [first, first];
  for (const sibling of path) {
    if (last === 0) return false;
    if (node % 2 === 1 || node === last) {
      older = await nodeHash(sibling, older);
      newer = await nodeHash(sibling, newer);
      while (node % 2 === 0 && node > 0) {
        node = half(node);
        last = half(last);
      }
    } else {
      newer = await nodeHash(newer, sibling);
    }
    node = half(node);
    last = half(last);
  }
  return last === 0 && same(older, oldRoot) && same(newer, newRoot);
}

export function joined(...parts: Bytes[]): Bytes {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

export const same = (a: Bytes, b: Bytes): boolean => a.length === b.length && a.every((byte, i) => byte === b[i]);

export const hex = (data: Bytes): string => [...data].map((byte) => byte.toString(16).padStart(2, "0")).join("");

const isHash = (data: Bytes): boolean => data.length === 32;
const isCount = (n: number): boolean => Number.isSafeInteger(n) && n >= 0;
// Not shifts: sizes may pass 2^31.
const half = (n: number): number => Math.floor(n / 2);

function isPowerOfTwo(n: number): boolean {
  while (n > 1 && n % 2 === 0) n = half(n);
  return n === 1;
}
