import { expect, test } from "vitest";
import { EVERYWHERE, isTaken, keysOf } from "./keys";

const event = (target: { field?: boolean; dialog?: boolean }, more: Partial<KeyboardEvent> = {}): KeyboardEvent =>
  ({
    ctrlKey: false, altKey: false, metaKey: false, ...more,
    target: { matches: () => target.field ?? false, closest: () => (target.dialog ? {} : null) },
  }) as unknown as KeyboardEvent;

test("a key is the console's own only outside of fields and dialogs, without a modifier", () => {
  expect(isTaken(event({}))).toBe(false);
  expect(isTaken(event({ field: true }))).toBe(true);
  expect(isTaken(event({ dialog: true }))).toBe(true);
  expect(isTaken(event({}, { ctrlKey: true }))).toBe(true);
});

test("the map has the keys of a view and those that count everywhere", () => {
  expect(keysOf("trends").map((k) => k.keys)).toContain("Backspace");
  expect(keysOf("audit")).toEqual([]);
  expect(EVERYWHERE.map((k) => k.keys)).toContain("v");
});
