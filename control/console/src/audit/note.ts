// C2SP signed notes, checkpoints and cosignatures, checked with the browser's Ed25519; must not know bundles or screens.
import { hex, joined, same, sha256, type Bytes } from "./merkle";

/** What was given is not of its form; the message says what. */
export class Malformed extends Error {}

/** Holds, does not, or this browser cannot tell. */
export type Verdict = "holds" | "wrong" | "unable";

export interface Checkpoint {
  origin: string;
  size: number;
  root: Bytes;
}

export interface Key {
  name: string;
  id: Bytes;
  key: Bytes;
}

export interface Cosigned {
  name: string;
  /** Unix seconds, by the witness's own clock. */
  time: number;
}

interface Signature {
  name: string;
  id: Bytes;
  data: Bytes;
}

const DASH = "\u2014 ";
const ED25519 = 1;
const COSIGNATURE = 4;

export const logKey = (line: string): Promise<Key> => keyOf(line, ED25519);
export const witnessKey = (line: string): Promise<Key> => keyOf(line, COSIGNATURE);

/** The note's text, and its signature lines. */
export function splitNote(note: string): { text: string; signatures: Signature[] } {
  const end = note.lastIndexOf("\n\n");
  if (end < 0 || !note.endsWith("\n")) throw new Malformed("the checkpoint is no signed note");
  const signatures = note.slice(end + 2, -1).split("\n").map((line) => {
    const [name, blob, ...more] = line.slice(DASH.length).split(" ");
    if (!line.startsWith(DASH) || !name || !blob || more.length > 0) throw new Malformed("the checkpoint has a line that is no signature");
    const data = bytesOf(blob);
    if (data.length <= 4) throw new Malformed("a signature has no bytes");
    return { name, id: data.slice(0, 4), data: data.slice(4) };
  });
  return { text: note.slice(0, end + 1), signatures };
}

export function parseCheckpoint(text: string): Checkpoint {
  const [origin, size, root] = text.split("\n");
  if (!origin || !size || !/^(0|[1-9][0-9]{0,15})$/.test(size) || !root || !Number.isSafeInteger(Number(size))) {
    throw new Malformed("the checkpoint does not say origin, size and root");
  }
  return { origin, size: Number(size), root: bytesOf(root) };
}

/** Whether the log's own key signed the note. */
export async function signed(note: string, key: Key): Promise<Verdict> {
  const { text, signatures } = splitNote(note);
  const own = signatures.find((s) => s.name === key.name && same(s.id, key.id));
  return own === undefined ? "wrong" : await holds(key.key, own.data, new TextEncoder().encode(text));
}

/** Who of the witnesses cosigned it and when; "wrong" when a line of theirs does not hold. */
export async function cosigned(note: string, witnesses: Key[]): Promise<Cosigned[] | "wrong" | "unable"> {
  const { text, signatures } = splitNote(note);
  const found: Cosigned[] = [];
  for (const witness of witnesses) {
    const line = signatures.find((s) => s.name === witness.name && same(s.id, witness.id));
    if (line === undefined) continue;
    if (line.data.length !== 72) return "wrong";
    const time = new DataView(line.data.buffer, line.data.byteOffset).getBigUint64(0);
    const said = new TextEncoder().encode(`cosignature/v1\ntime ${time}\n${text}`);
    const verdict = await holds(witness.key, line.data.slice(8), said);
    if (verdict !== "holds") return verdict;
    found.push({ name: witness.name, time: Number(time) });
  }
  return found;
}

export function bytesOf(base64: string): Bytes {
  let raw: string;
  try {
    raw = atob(base64);
  } catch {
    throw new Malformed("not base64");
  }
  if (btoa(raw) !== base64) throw new Malformed("not canonical base64");
  return Uint8Array.from(raw, (c) => c.charCodeAt(0));
}

async function keyOf(line: string, kind: number): Promise<Key> {
  const [name, id, ...rest] = line.split("+");
  const data = bytesOf(rest.join("+"));
  if (!name || data.length !== 33 || data[0] !== kind) throw new Malformed("not a verifier key");
  const digest = await sha256(joined(new TextEncoder().encode(`${name}\n`), data));
  if (hex(digest.slice(0, 4)) !== id) throw new Malformed("the key's id does not belong to it");
  return { name, id: digest.slice(0, 4), key: data.slice(1) };
}

async function holds(key: Bytes, signature: Bytes, message: Bytes): Promise<Verdict> {
  let imported: CryptoKey;
  try {
    imported = await crypto.subtle.importKey("raw", key, { name: "Ed25519" }, false, ["verify"]);
  } catch {
    return "unable"; // browsers before 2025 have no Ed25519
  }
  return (await crypto.subtle.verify({ name: "Ed25519" }, imported, signature, message)) ? "holds" : "wrong";
}
