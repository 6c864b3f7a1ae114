import { expect, test } from "vitest";
import type { Mark } from "./drawing";
import { clipped, legendOf, lettersOf, LETTERS_MOST } from "./legend";
import { sides, type Spot } from "./labels";
import type { PointInfo, TwinInfo } from "../wire";
import { valueWords } from "../words";

const twin: TwinInfo = {
  id: "filler", interface: "dtmi:x:Machine;1", kind: "Machine", kind_name: "Machine", name: "Filler", x: 0, y: 0, mark: null,
};
const state: PointInfo = {
  id: 0, name: "filler.status.StateCurrent", twin: "filler", property: "status.StateCurrent", type: "enum", unit: "", device: "plc",
  writable: false, low: null, high: null, select: false, approvals: 0, approver: "", preflight: "off", title: "State",
  names: [{ value: 2, name: "Stopped" }, { value: 6, name: "Execute" }, { value: 9, name: "Aborted" }],
};
const machine: Mark = { twin, shape: "machine", point: 0, on: [6] };
const said = (mark: Mark, point: PointInfo): [boolean, string][] => legendOf([mark], new Map([[0, point]])).map((r) => [r.on, r.words]);

test("a value of an enum is told by its name, one without a name by its number", () => {
  expect(valueWords(state, 6, undefined)).toBe("Execute");
  expect(valueWords(state, 7, undefined)).toBe("7");
  expect(valueWords(state, NaN, undefined)).toBe("–");
});

test("the key tells what the signs of this plant mean, and nothing of others", () => {
  expect(said(machine, state)).toEqual([[true, "Machine: Execute"], [false, "Machine: not Execute"]]);
  expect(said(machine, { ...state, names: state.names.slice(0, 2) })[1]).toEqual([false, "Machine: Stopped"]);
  expect(said({ ...machine, on: [] }, state)).toEqual([[false, "Machine: state"]]);
  const eye: PointInfo = { ...state, type: "boolean", title: "Blocked", names: [{ value: 0, name: "no" }, { value: 1, name: "yes" }] };
  expect(said({ ...machine, on: [1] }, eye)).toEqual([[true, "Machine: blocked"], [false, "Machine: not blocked"]]);
  expect(said({ ...machine, shape: "tank", on: [] }, { ...state, type: "double", title: "Level", names: [] })).toEqual([[false, "Machine: level"]]);
  expect(said({ ...machine, point: null, on: [] }, state)).toEqual([[false, "Machine"]]);
});

test("a label has room for the longest value it may show, and is cut where it is too long", () => {
  expect(lettersOf(machine, state)).toBe("Execute".length);
  expect(lettersOf(machine, { ...state, type: "string", names: [] })).toBe(LETTERS_MOST);
  expect(clipped("x".repeat(100))).toHaveLength(LETTERS_MOST);
});

test("labels of a crowded row never lie on one another", () => {
  const row = (apart: number): Spot[] => Array.from({ length: 8 }, (_, i) => ({ id: `m${i}`, x: 40 + apart * i, y: 100, letters: 12, lines: 2 }));
  expect(sides(row(110), [], 1000, 600).size).toBe(8);
  const crowded = sides(row(38), [], 1000, 600);
  expect(crowded.size).toBeGreaterThan(2);
  expect(crowded.size).toBeLessThan(8);
});

test("labels of two marks do not face each other where they would touch in a wide font", () => {
  const facing = (apart: number): string => {
    const found = sides([{ id: "a", x: 60, y: 100, letters: 7, lines: 2 }, { id: "b", x: 60 + apart, y: 104, letters: 8, lines: 2 }], [], 60 + apart + 30, 300);
    return `${found.get("a")} ${found.get("b")}`;
  };
  expect(facing(153)).toBe("right below");
  expect(facing(180)).toBe("right left");
});
