import { expect, test } from "vitest";
import { asCsv, asked, extended, HELD_MOST, type Held, isFull, joined, NONE } from "./audit";
import type { AuditEntry, AuditHead } from "../wire";

const entry = (index: number, ...levels: string[]): AuditEntry => ({ index, kind: "command", time: 0, body: { n: index }, levels });
const head = (entries: AuditEntry[], next: number | null, more: Partial<AuditHead> = {}): AuditHead => ({
  size: 10, checkpointed: 9, witnessed: 0, witnessed_time: null, witnesses: [], witness_alarm: "", anchored: 6, anchored_time: null,
  anchor_wait_s: 0, anchor_alarm: "", chain: "embedded", root: "", kinds: [], entries, next, ...more,
});
const indices = ({ entries }: Held): number[] => entries.map((e) => e.index);
const down = (from: number, count: number): AuditEntry[] => Array.from({ length: count }, (_, i) => entry(from - i));

test("the address says what is asked for, and what is unknown is left out", () => {
  expect(asked(new URLSearchParams("twin=pump_*&by=&kind=login&colour=red"))).toEqual({ kind: "login", twin: "pump_*" });
});

test("older pages stay below the newest one, with the levels of now", () => {
  const held = { entries: [entry(7, "recorded"), entry(6, "recorded"), entry(5, "recorded"), entry(4, "recorded")], older: 4 };
  const found = joined(held, head([entry(9), entry(8), entry(7), entry(6)], 6));
  expect(indices(found)).toEqual([9, 8, 7, 6, 5, 4]);
  expect(found.entries.at(-1)!.levels).toEqual(["recorded", "checkpointed", "anchored"]);
  expect(found.older).toBe(4);
  expect(extended(found, head([entry(3), entry(2)], null))).toMatchObject({ older: null });
});

test("nothing is put together over a hole, and a page that nothing follows has all", () => {
  expect(joined({ entries: [entry(3), entry(2)], older: 2 }, head([entry(9), entry(8)], 8))).toEqual({ entries: [entry(9), entry(8)], older: 8 });
  expect(joined({ entries: [entry(3)], older: null }, head([entry(9)], null))).toEqual({ entries: [entry(9)], older: null });
  expect(joined(NONE, head([entry(9)], 9)).older).toBe(9);
});

test("no more is held than a page can bear; older entries go on from the last that is kept", () => {
  const held = { entries: down(9_999, HELD_MOST), older: 10_000 - HELD_MOST };
  const found = joined(held, head([...down(10_050, 100)], 9_951));
  expect([found.entries.length, found.entries[0]!.index, found.older]).toEqual([HELD_MOST, 10_050, 10_051 - HELD_MOST]);
  expect(isFull(found)).toBe(true);
  const more = extended({ entries: down(9_999, HELD_MOST - 500), older: 8_500 }, head(down(8_499, 1_000), 7_500));
  expect([more.entries.length, more.older]).toEqual([HELD_MOST, 8_000]);
});

test("a file has a row for each entry", () => {
  expect(asCsv([entry(3, "recorded", "anchored")])).toBe(
    'entry,time,kind,levels,body\r\n3,1970-01-01T00:00:00.000Z,command,recorded anchored,"{""n"":3}"\r\n',
  );
});
