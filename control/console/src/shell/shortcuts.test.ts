import { expect, test } from "vitest";
import { EVERYWHERE, isTaken, keysOf } from "./shortcuts";

const event = (at: { field?: boolean; inside?: boolean; open?: boolean }, more: Partial<KeyboardEvent> = {}): KeyboardEvent =>
  ({
    defaultPrevented: false, ctrlKey: false, altKey: false, metaKey: false, ...more,
    target: {
      matches: () => at.field ?? false, closest: () => (at.inside ? {} : null),
      ownerDocument: { querySelector: () => (at.open || at.inside ? {} : null) },
    },
  }) as unknown as KeyboardEvent;

test("a key is the view's own only outside of fields, without a modifier, and when nobody else took it", () => {
  expect(isTaken(event({}))).toBe(false);
  expect(isTaken(event({ field: true }))).toBe(true);
  expect(isTaken(event({}, { ctrlKey: true }))).toBe(true);
  expect(isTaken(event({}, { defaultPrevented: true }))).toBe(true);
});

test("while a dialog is open no key reaches the view under it, wherever the focus is", () => {
  expect(isTaken(event({ inside: true }))).toBe(true);
  expect(isTaken(event({ open: true }))).toBe(true);
});

test("the map has the keys of a view and those that count everywhere", () => {
  expect(keysOf("trends").map((k) => k.keys)).toContain("Backspace");
  expect(keysOf("audit")).toEqual([]);
  expect(EVERYWHERE.map((k) => k.keys)).toContain("v");
});
