import { describe, expect, test } from "vitest";
import command from "../../../../tests/ledger/golden/bundle_v3_command.json?raw";
import entry from "../../../../tests/ledger/golden/bundle_v3_entry.json?raw";
import reading from "../../../../tests/ledger/golden/bundle_v3_reading.json?raw";
import { canonical } from "../commands/batchRows";
import { leafHash, verifyConsistency, verifyInclusion, type Bytes } from "./merkle";
import { bytesOf } from "./note";
import { asShown, check, type Bundle, type Check, type Known, type ShownEntry, type ToldCommand } from "./proof";

const WITNESS = "witness.example/w1+e75f6532+BAOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4";
const KEY = (JSON.parse(entry) as Bundle).public_key;
const KNOWN: Known = { key: KEY, witnesses: [], chain: "31337", shown: [], told: null };
const GOLDEN = { entry, command, reading };

const parsed = (text: string): Bundle => JSON.parse(text) as Bundle;
const states = (found: Check): Record<string, string> => Object.fromEntries(found.steps.map((s) => [s.name, s.state]));
const failing = (found: Check): string[] => found.steps.filter((s) => s.state === "failed").map((s) => s.name);

async function mended(bundle: Bundle): Promise<Bundle> {
  const { sha256: _, ...rest } = bundle;
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(canonical(rest)));
  return { ...bundle, sha256: [...new Uint8Array(digest)].map((b) => b.toString(16).padStart(2, "0")).join("") };
}

test.each(Object.entries(GOLDEN))("the golden bundle of a %s, made by the server's language, holds here too", async (_, text) => {
  const found = await check(parsed(text), KNOWN);
  expect(found.steps.filter((s) => s.state === "failed")).toEqual([]);
  expect(found.verdict).toBe("verified");
  expect(states(found).Anchor).toBe("unchecked"); // only the chain can say
});

test("a cosignature is checked with the witness's key, and a witness that did not sign is not claimed", async () => {
  const found = await check(parsed(entry), { ...KNOWN, witnesses: [WITNESS] });
  expect(found.steps.find((s) => s.name === "Witness")).toMatchObject({ state: "ok", said: expect.stringContaining("witness.example/w1 cosigned it at 2026-11-18") });
  expect(states(await check(parsed(command), KNOWN)).Witness).toBe("unchecked");
});

test("a reading is shown from rows whose hash was recomputed", async () => {
  const found = await check(parsed(reading), KNOWN);
  expect(found.steps.find((s) => s.name === "Rows")?.said).toContain("tank_1.level = 1.25");
});

test("another key than the one this browser knows is refused, however well all else holds", async () => {
  const found = await check(parsed(entry), { ...KNOWN, key: "twinloop.local/works+00000000+AQ==" });
  expect([found.verdict, failing(found)]).toEqual(["failed", ["Key"]]);
});

test("what the screen shows otherwise than it was recorded is found", async () => {
  const { entries } = await check(parsed(command), KNOWN);
  expect((await check(parsed(command), { ...KNOWN, shown: entries })).verdict).toBe("verified");
  const forged = entries.map((e) => (e.kind === "command" ? { ...e, body: { ...e.body, status: "FAILED" } } : e));
  const found = await check(parsed(command), { ...KNOWN, shown: forged });
  expect([found.verdict, failing(found)]).toEqual(["failed", ["As shown"]]);
});

test("steps of a command that no checkpoint covers yet are not proved, and none that differs is let pass", async () => {
  const { entries } = await check(parsed(command), KNOWN);
  const steps = entries.filter((e) => e.kind === "command");
  const { point, value, reason } = steps[0]!.body as unknown as ToldCommand;
  const transitions = steps.map(({ time, body }) => ({ time, status: body.status as string, detail: body.detail as string }));
  const verdict = async (shown: ToldCommand["transitions"]): Promise<[string, string]> => {
    const found = await check(parsed(command), { ...KNOWN, told: { point, value, reason, transitions: shown } as ToldCommand });
    return [found.verdict, states(found)["As shown"]!];
  };
  const next = { time: 9e12, status: "CONFIRMED", detail: "" };
  expect(await verdict(transitions)).toEqual(["verified", "ok"]);
  expect(await verdict([...transitions, next])).toEqual(["partly", "unchecked"]);
  expect(await verdict([{ ...transitions[0]!, status: "FAILED" }, ...transitions.slice(1), next])).toEqual(["failed", "failed"]);
  expect(await verdict(transitions.slice(1))).toEqual(["failed", "failed"]);
});

test("names of persons stand in the log as salted hashes, also deep inside, and cannot be compared", async () => {
  const { entries } = await check(parsed(command), KNOWN);
  const first = entries[0]!;
  const names = (by: unknown): ShownEntry => ({ ...first, body: { ...first.body, approvals: [{ by, time: 1 }], author: by } });
  const sealed = `person:1:${"0".repeat(32)}:${"0".repeat(64)}`;
  expect(asShown([names(sealed)], [names("sue")])).toEqual(["ok", expect.stringContaining("2 names")]);
  expect(asShown([names("sue")], [names("ann")])[0]).toBe("failed");
  expect(asShown([names(sealed)], [{ ...names("sue"), body: {} }])[0]).toBe("failed");
});

describe("each step fails by itself and is named", () => {
  const cases: [string, string, (b: Bundle) => unknown][] = [
    ["Form", entry, (b) => ({ ...b, format: "twinloop-proof-2" })],
    ["Form", entry, (b) => ({ ...b, more: 1 })],
    ["Inclusion", entry, (b) => ({ ...b, entries: [{ ...b.entries[0], index: 5 }] })],
    ["Inclusion", entry, (b) => ({ ...b, entries: [{ ...b.entries[0], inclusion_proof: [] }] })],
    ["Signature", entry, (b) => ({ ...b, checkpoint: b.checkpoint.replace("\n7\n", "\n6\n") })],
    ["Subject", command, (b) => ({ ...b, entries: b.entries.filter((_, i) => i !== 2) })],
    ["Subject", command, (b) => ({ ...b, about: { kind: "command", id: "c2" } })],
    ["Rows", reading, (b) => ({ ...b, about: { ...b.about, point: "tank_2.level" } })],
    ["Rows", reading, (b) => ({ ...b, data: null })],
    ["Anchor", entry, (b) => ({ ...b, anchor: { ...b.anchor, size: 4 } })],
    ["Anchor", entry, (b) => ({ ...b, consistency_proof: [] })],
    ["Anchor", entry, (b) => ({ ...b, anchor: { ...b.anchor, root: `0x${"00".repeat(32)}` } })],
  ];
  test.each(cases)("%s", async (name, text, change) => {
    const found = await check(await mended(change(parsed(text)) as Bundle), KNOWN);
    expect(found.verdict).toBe("failed");
    expect(failing(found)).toContain(name);
  });
});

test("a receipt changed where no hash reaches is found by the digest of the whole", async () => {
  const bundle = parsed(entry);
  const found = await check({ ...bundle, anchor: { ...bundle.anchor, block: 3 } }, KNOWN);
  expect(failing(found)).toEqual(["Whole"]);
});

test("every flipped byte of a bundle is found, and nothing crashes", async () => {
  for (const text of Object.values(GOLDEN)) {
    const whole = new TextEncoder().encode(text);
    for (let at = 0; at < whole.length; at += 3) {
      const changed = whole.slice();
      changed[at] = changed[at]! ^ (1 << at % 8);
      let bundle: unknown;
      try {
        bundle = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(changed));
      } catch {
        continue;
      }
      if (JSON.stringify(bundle) === JSON.stringify(parsed(text))) continue;
      expect((await check(bundle, KNOWN)).verdict, `byte ${at}`).toBe("failed");
    }
  }
}, 60_000);

test.each([null, 1, "x", [], {}, { format: "twinloop-proof-3" }].map((value) => [value]))("%j is no bundle", async (value) => {
  expect((await check(value, KNOWN)).verdict).toBe("failed");
});

test("proofs of the wrong length, index or size prove nothing", async () => {
  const bundle = parsed(entry);
  const one = bundle.entries[0]!;
  const root = bytesOf(bundle.checkpoint.split("\n")[2]!);
  const leaf = await leafHash(bytesOf(one.entry));
  const proof = one.inclusion_proof.map(bytesOf);
  const holds = (index: number, size: number, path: Bytes[]): Promise<boolean> => verifyInclusion(leaf, index, size, path, root);
  expect(await holds(4, 7, proof)).toBe(true);
  for (const [index, size, path] of [[4, 9, proof], [5, 7, proof], [-1, 7, proof], [4, 0, proof], [4.5, 7, proof], [4, 7, proof.slice(1)], [4, 7, [...proof, leaf]]] as const) {
    expect(await holds(index, size, [...path])).toBe(false);
  }
  expect(await verifyConsistency(0, root, 7, root, [])).toBe(false);
  expect(await verifyConsistency(7, root, 7, root, [])).toBe(true);
  expect(await verifyConsistency(8, root, 7, root, [])).toBe(false);
});
