// Recomputes a bundle (docs/evidence.md) in the browser and says step by step what holds; must not know screens.
import { canonical, digestOf, parseRows, readingOf } from "../commands/batchRows";
import { hex, leafHash, sha256, verifyConsistency, verifyInclusion, type Bytes } from "./merkle";
import { bytesOf, cosigned, logKey, Malformed, parseCheckpoint, signed, splitNote, witnessKey, type Checkpoint } from "./note";

export type State = "ok" | "failed" | "unchecked";

export interface Step {
  name: string;
  state: State;
  said: string;
}

export interface ShownEntry {
  index: number;
  kind: string;
  /** ms since 1970. */
  time: number;
  body: Record<string, unknown>;
}

export interface Check {
  /** "verified" only where everything that a browser can recompute was recomputed and held. */
  verdict: "verified" | "partly" | "failed";
  steps: Step[];
  entries: ShownEntry[];
  key: string;
}

export interface Bundle {
  format: string;
  about: { kind: string; index?: number; id?: string; batch?: number; point?: string; source_time_ns?: string };
  entries: { index: number; entry: string; inclusion_proof: string[] }[];
  checkpoint: string;
  public_key: string;
  anchor: { number: number; size: number; root: string; block: number; chain_id: number } | null;
  consistency_proof: string[];
  data: unknown;
  sha256: string;
}

export interface Known {
  /** The log's verifier key as this browser knows it; empty for the first time. */
  key: string;
  /** Verifier keys of the witnesses. */
  witnesses: string[];
  /** "embedded", or the number of a chain that others run. */
  chain: string;
  /** Entries as the screen shows them. */
  shown: ShownEntry[];
  /** A command as the screen shows it. */
  told: ToldCommand | null;
}

export interface ToldCommand {
  id: string;
  point: string;
  value: number;
  reason: string;
  transitions: { status: string; time: number; detail: string }[];
}

const FORMAT = "twinloop-proof-3";
const FIELDS = "about,anchor,checkpoint,consistency_proof,data,entries,format,public_key,sha256";
const COMMAND_KINDS = ["command", "prediction", "prediction.score"];
const SEALED = /^person:\d+:/;
type Said = [State, string];
/** Steps without which nothing is verified; the others say more where they can. */
const NEEDED = ["Form", "Key", "Signature", "Inclusion", "Subject", "As shown", "Whole"];

/** Never throws for a malformed bundle: that is a failed step. */
export async function check(given: unknown, known: Known): Promise<Check> {
  const steps: Step[] = [];
  const entries: ShownEntry[] = [];
  const bundle = given as Bundle;
  const step = async (name: string, work: () => Promise<Said> | Said): Promise<void> => {
    try {
      const [state, said] = await work();
      steps.push({ name, state, said });
    } catch (error) {
      steps.push({ name, state: "failed", said: error instanceof Malformed ? error.message : "is not of the form that a bundle has" });
    }
  };
  const failed = (): boolean => steps.some((s) => s.state === "failed");
  if (globalThis.crypto?.subtle === undefined) {
    const said = "this browser recomputes nothing over plain HTTP: open the console by HTTPS or on the server's own machine, or give the file to `python -m ledger verify-bundle`";
    return { verdict: "partly", steps: [{ name: "Form", state: "unchecked", said }], entries, key: "" };
  }
  await step("Form", () => form(given));
  if (failed()) return { verdict: "failed", steps, entries, key: "" };
  let checkpoint: Checkpoint = { origin: "", size: 0, root: new Uint8Array(32) };
  await step("Key", () => keyStep(bundle, known.key));
  await step("Signature", async () => {
    const key = await logKey(bundle.public_key);
    checkpoint = parseCheckpoint(splitNote(bundle.checkpoint).text);
    if (checkpoint.origin !== key.name) return ["failed", `the checkpoint is of ${checkpoint.origin}, the key of ${key.name}`];
    const verdict = await signed(bundle.checkpoint, key);
    if (verdict === "unable") return ["unchecked", "this browser knows no Ed25519: nothing says who signed"];
    return verdict === "holds" ? ["ok", `the log's key signed the checkpoint of ${checkpoint.size} entries`] : ["failed", "the checkpoint's signature does not hold"];
  });
  await step("Inclusion", () => inclusion(bundle, checkpoint, entries));
  await step("Subject", () => subject(bundle, entries));
  const { shown, told } = known;
  if (shown.length > 0) await step("As shown", () => asShown(entries, shown));
  if (told !== null) await step("As shown", () => asTold(entries, told));
  if (bundle.data !== null || bundle.about.kind === "batch" || bundle.about.kind === "reading") await step("Rows", () => rowsStep(bundle, entries));
  await step("Witness", () => witnessStep(bundle, known.witnesses));
  await step("Anchor", () => anchorStep(bundle, checkpoint, entries, known.chain));
  await step("Whole", () => whole(bundle));
  const needed = steps.filter((s) => NEEDED.includes(s.name));
  const verdict = failed() ? "failed" : needed.every((s) => s.state === "ok") ? "verified" : "partly";
  return { verdict, steps, entries, key: bundle.public_key };
}

function form(given: unknown): Said {
  const bundle = given as Bundle;
  if (typeof given !== "object" || given === null || bundle.format !== FORMAT) return ["failed", `is no bundle of format ${FORMAT}`];
  if (Object.keys(given).sort().join(",") !== FIELDS) return ["failed", "has other fields than a bundle"];
  if (!Array.isArray(bundle.entries) || bundle.entries.length === 0) return ["failed", "has no entries"];
  return ["ok", `${bundle.entries.length} ${bundle.entries.length === 1 ? "entry" : "entries"}, format ${FORMAT}`];
}

async function keyStep(bundle: Bundle, known: string): Promise<Said> {
  await logKey(bundle.public_key);
  if (known === "") return ["ok", `${bundle.public_key}: seen for the first time; compare it with the key that you were given another way`];
  return known === bundle.public_key
    ? ["ok", "the key that this browser has known since it first saw this log"]
    : ["failed", `is ${bundle.public_key}, this browser knows ${known}: find out who replaced it`];
}

async function inclusion(bundle: Bundle, checkpoint: Checkpoint, entries: ShownEntry[]): Promise<Said> {
  for (const one of bundle.entries) {
    const data = bytesOf(one.entry);
    const proof = one.inclusion_proof.map(bytesOf);
    if (!(await verifyInclusion(await leafHash(data), one.index, checkpoint.size, proof, checkpoint.root))) {
      return ["failed", `entry ${one.index} does not lead to the signed root`];
    }
    const before = entries.at(-1);
    if (before !== undefined && before.index >= one.index) return ["failed", `entry ${one.index} comes after entry ${before.index}`];
    entries.push(opened(one.index, data));
  }
  const which = entries.length === 1 ? `entry ${entries[0]!.index} leads` : `all ${entries.length} entries lead`;
  return ["ok", `${which} to the signed root, byte for byte`];
}

function subject(bundle: Bundle, entries: ShownEntry[]): Said {
  const { about } = bundle;
  const first = entries[0];
  if (first === undefined || entries.length !== bundle.entries.length) return ["failed", "its entries are not in the log"];
  if (about.kind === "entry") return entries.length === 1 && about.index === first.index ? ["ok", `entry ${first.index}`] : ["failed", "is of another entry"];
  if (about.kind === "command") {
    const own = entries.every((e) => COMMAND_KINDS.includes(e.kind) && e.body.id === about.id);
    if (!own) return ["failed", `not all entries are of command ${about.id}`];
    const steps = entries.filter((e) => e.kind === "command").map((e) => e.body.n);
    const all = steps.length > 0 && steps.every((n, i) => n === i);
    return all ? ["ok", `steps 0 to ${steps.length - 1} of command ${about.id} are all here`] : ["failed", `a step of command ${about.id} is missing`];
  }
  if (about.kind !== "batch" && about.kind !== "reading") return ["failed", "is of nothing that is known here"];
  const fits = entries.length === 1 && first.kind === "history.batch" && first.body.batch === about.batch;
  return fits ? ["ok", `batch ${about.batch} of history`] : ["failed", "is of another batch"];
}

/** Names of persons stand in the log as salted hashes, and are shown by name: those only the server can open. */
export function asShown(entries: ShownEntry[], shown: ShownEntry[]): Said {
  let opened = 0;
  for (const one of shown) {
    const proved = entries.find((e) => e.index === one.index);
    if (proved === undefined) return ["failed", `entry ${one.index} is on the screen and not in the bundle`];
    const names = { opened: 0 };
    const alike = isShown(proved.body, one.body, names);
    opened += names.opened;
    // Nanoseconds pass what a browser holds exactly: a thousandth of a millisecond is as near as it gets.
    if (proved.kind !== one.kind || Math.abs(proved.time - one.time) > 0.001 || !alike) {
      return ["failed", `the screen shows entry ${one.index} otherwise than it was recorded`];
    }
  }
  return ["ok", opened > 0 ? `what the screen shows is what was recorded, but for ${opened} names, which stand there as salted hashes` : "what the screen shows is what was recorded"];
}

/** The record on the screen, step by step. Steps that no checkpoint covers yet are not proved, which is no contradiction. */
function asTold(entries: ShownEntry[], told: ToldCommand): Said {
  const steps = entries.filter((e) => e.kind === "command");
  const shown = told.transitions.length;
  if (steps.length > shown) return ["failed", `the screen shows ${shown} steps, ${steps.length} are proved`];
  for (const [n, { time, body }] of steps.entries()) {
    const t = told.transitions[n]!;
    const same = body.status === t.status && body.detail === t.detail && Math.abs(time - t.time) < 0.001;
    if (!same || body.point !== told.point || body.value !== told.value || body.reason !== told.reason) {
      return ["failed", `the screen shows step ${n} otherwise than it was recorded`];
    }
  }
  if (steps.length < shown) return ["unchecked", `${steps.length} of the ${shown} steps on the screen are what was recorded; the rest is in no checkpoint yet: check again`];
  return ["ok", "status, time and detail of every step, point, value and reason on the screen are what was recorded"];
}

async function rowsStep(bundle: Bundle, entries: ShownEntry[]): Promise<Said> {
  const { about } = bundle;
  if (bundle.data === null) return about.kind === "batch" ? ["unchecked", "the rows are not in the bundle"] : ["failed", "nothing shows the reading"];
  const rows = parseRows(bundle.data);
  const entry = entries[0];
  if (entry === undefined || hex(await digestOf(rows, about.batch ?? -1)) !== entry.body.sha256 || rows.count !== entry.body.rows) {
    return ["failed", `the rows are not those recorded as batch ${about.batch}`];
  }
  if (about.kind === "batch") return ["ok", `the ${rows.count} rows have the recorded SHA-256`];
  const reading = readingOf(rows, about.point ?? "", about.source_time_ns ?? "");
  if (reading === null) return ["failed", `they hold no such reading of ${about.point}`];
  return ["ok", `the ${rows.count} rows have the recorded SHA-256; row ${reading.row}: ${about.point} = ${reading.text ?? reading.value ?? "no value"}`];
}

async function witnessStep(bundle: Bundle, lines: string[]): Promise<Said> {
  if (lines.length === 0) return ["unchecked", "no witness is configured: nobody outside has seen this checkpoint"];
  const found = await cosigned(bundle.checkpoint, await Promise.all(lines.map(witnessKey)));
  if (found === "wrong") return ["failed", "a cosignature does not hold"];
  if (found === "unable") return ["unchecked", "this browser knows no Ed25519"];
  if (found.length === 0) return ["unchecked", "none of the witnesses has cosigned this checkpoint yet"];
  return ["ok", found.map((w) => `${w.name} cosigned it at ${new Date(w.time * 1000).toISOString()}`).join(", ")];
}

async function anchorStep(bundle: Bundle, checkpoint: Checkpoint, entries: ShownEntry[], chain: string): Promise<Said> {
  const { anchor } = bundle;
  if (anchor === null) return bundle.consistency_proof.length === 0 ? ["unchecked", "not anchored yet"] : ["failed", "proves an anchor that is not here"];
  const root = hexBytes(anchor.root);
  const last = entries.at(-1)?.index ?? 0;
  if (anchor.size <= last) return ["failed", `the anchor covers ${anchor.size} entries, entry ${last} is not among them`];
  const proof = bundle.consistency_proof.map(bytesOf);
  const [small, large] = anchor.size <= checkpoint.size ? [{ size: anchor.size, root }, checkpoint] : [checkpoint, { size: anchor.size, root }];
  if (!(await verifyConsistency(small.size, small.root, large.size, large.root, proof))) return ["failed", "the anchored root is not of this log"];
  const who = chain === "embedded" ? "only the embedded chain can say, and the operator keeps it" : "only a node of that chain can say";
  return ["unchecked", `the root in the receipt of anchor ${anchor.number} is of this log; whether chain ${anchor.chain_id} has it in block ${anchor.block}, ${who}`];
}

async function whole(bundle: Bundle): Promise<Said> {
  const rest = Object.fromEntries(Object.entries(bundle).filter(([name]) => name !== "sha256"));
  const found = hex(await sha256(new TextEncoder().encode(canonical(rest))));
  return found === bundle.sha256 ? ["ok", "no byte of the bundle was changed since it was made"] : ["failed", "the bundle was changed since it was made"];
}

function opened(index: number, data: Bytes): ShownEntry {
  const entry = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(data)) as { kind: string; time_ns: number; body: Record<string, unknown> };
  if (typeof entry.kind !== "string" || typeof entry.body !== "object" || entry.body === null) throw new Malformed(`entry ${index} is no entry`);
  return { index, kind: entry.kind, time: entry.time_ns / 1e6, body: entry.body };
}

function hexBytes(text: string): Bytes {
  if (!/^0x([0-9a-f]{2})*$/.test(text)) throw new Malformed("the anchor's root is not hex");
  return Uint8Array.from(text.slice(2).match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

/** Whether the screen's value is the proved one; a salted hash may be shown as any text, and is counted. */
function isShown(proved: unknown, shown: unknown, names: { opened: number }): boolean {
  if (typeof proved === "string" && SEALED.test(proved)) {
    names.opened += 1;
    return typeof shown === "string";
  }
  if (typeof proved !== "object" || proved === null || typeof shown !== "object" || shown === null) return Object.is(proved, shown);
  const [ours, theirs] = [Object.entries(proved), Object.entries(shown)];
  const there = new Map(theirs);
  return Array.isArray(proved) === Array.isArray(shown) && ours.length === theirs.length && ours.every(([k, v]) => there.has(k) && isShown(v, there.get(k), names));
}
