import { expect, test } from "vitest";
import { asCsv, asked, joined } from "./audit";
import type { AuditEntry, AuditHead } from "./wire";

const entry = (index: number, ...levels: string[]): AuditEntry => ({ index, kind: "command", time: 0, body: { n: index }, levels });
const head = (entries: AuditEntry[], next: number | null, more: Partial<AuditHead> = {}): AuditHead => ({
  size: 10, checkpointed: 9, witnessed: 0, witnessed_time: null, witnesses: [], witness_alarm: "", anchored: 6, anchored_time: null,
  anchor_wait_s: 0, anchor_alarm: "", chain: "embedded", root: "", kinds: [], entries, next, ...more,
});
const indices = (entries: AuditEntry[]): number[] => entries.map((e) => e.index);

test("the address says what is asked for, and what is unknown is left out", () => {
  expect(asked(new URLSearchParams("twin=pump_*&by=&kind=login&colour=red"))).toEqual({ kind: "login", twin: "pump_*" });
});

test("older pages stay below the newest one, with the levels of now", () => {
  const held = [entry(7, "recorded"), entry(6, "recorded"), entry(5, "recorded"), entry(4, "recorded")];
  const found = joined(held, head([entry(9), entry(8), entry(7), entry(6)], 6));
  expect(indices(found)).toEqual([9, 8, 7, 6, 5, 4]);
  expect(found.at(-1)!.levels).toEqual(["recorded", "checkpointed", "anchored"]);
});

test("nothing is put together over a hole, and a page that nothing follows has all", () => {
  expect(indices(joined([entry(3), entry(2)], head([entry(9), entry(8)], 8)))).toEqual([9, 8]);
  expect(indices(joined([entry(3)], head([entry(9)], null)))).toEqual([9]);
});

test("a file has a row for each entry", () => {
  expect(asCsv([entry(3, "recorded", "anchored")])).toBe(
    'entry,time,kind,levels,body\r\n3,1970-01-01T00:00:00.000Z,command,recorded anchored,"{""n"":3}"\r\n',
  );
});
