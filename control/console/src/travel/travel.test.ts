import { expect, test } from "vitest";
import { binsOf, endFor, marksOf, stepFrom, ticksOf } from "./travel";
import type { Happening } from "../wire";

function happening(entry: number, kind: string, action: string, more: Partial<Happening> = {}): Happening {
  const empty = { by: "", subject: "", command: "", value: null, outcome: "", reason: "", detail: "", twins: [], points: [] };
  return { entry, time: entry * 1000, kind, action, ...empty, ...more };
}

const command = (entry: number, action: string): Happening =>
  happening(entry, "command", action, { command: "c1", value: 60, twins: ["pump_10"], points: ["pump_10.speed"] });
const alarm = (entry: number, action: string): Happening => happening(entry, "alarm", action, { subject: "tank_1.level:low", detail: "high" });

test("a command is one mark where it was asked for, in the lane of what became of it", () => {
  const [mark, ...rest] = marksOf([command(9, "CONFIRMED"), command(5, "SENT"), command(3, "QUEUED")], []);
  expect(rest).toEqual([]);
  expect(mark).toMatchObject({ lane: "done", time: 3000, sort: "went", twin: "pump_10", title: "pump_10.speed = 60: CONFIRMED" });
  expect(mark!.steps.map((s) => s.action)).toEqual(["QUEUED", "SENT", "CONFIRMED"]);
  expect(marksOf([command(1, "FAILED")], [])[0]).toMatchObject({ lane: "undone", sort: "came" });
});

test("alarms stand in the lane of their priority, links and edits in their own", () => {
  const marks = marksOf([happening(4, "graph", "edited", { subject: "7" }), alarm(2, "cleared"), alarm(1, "active")],
    [{ device: "plc", state: "broken", time: 3000 }]);
  expect(marks.map((m) => [m.lane, m.sort])).toEqual([["high", "came"], ["high", "went"], ["link", "came"], ["plant", "other"]]);
});

test("steps go to the next mark and never to the one that is shown", () => {
  const marks = marksOf([alarm(1, "active"), alarm(5, "cleared")], []);
  expect(stepFrom(marks, 1000, 1)?.time).toBe(5000);
  expect(stepFrom(marks, 5000, -1)?.time).toBe(1000);
  expect(stepFrom(marks, 5000, 1)).toBeUndefined();
});

test("marks too near to be told apart are one, that looks like the worst of them", () => {
  const marks = marksOf([alarm(10, "cleared"), alarm(11, "active"), alarm(60, "cleared")], []);
  const bins = binsOf(marks, 0, 100_000, 100, 9);
  expect(bins.map((b) => [b.x, b.sort, b.marks.length])).toEqual([[10, "came", 2], [60, "went", 1]]);
  expect(binsOf(marks, 20_000, 50_000, 100, 9)).toEqual([]);
});

test("ticks are round moments of the local clock", () => {
  expect(ticksOf(1_000, 3_600_000, 6, () => 0)).toEqual([900_000, 1_800_000, 2_700_000, 3_600_000]);
  expect(ticksOf(0, 86_400_000, 6, () => 3_600_000).map((t) => t / 3_600_000)).toEqual([3, 7, 11, 15, 19, 23]);
});

test("ticks stay round across a change of summer time", () => {
  const hour = 3_600_000;
  const ends = (ms: number): number => (ms < 49 * hour ? 2 * hour : hour);
  expect(ticksOf(0, 96 * hour, 6, ends).map((t) => t / hour)).toEqual([22, 46, 71, 95]);
  const begins = (ms: number): number => (ms < 49 * hour ? hour : 2 * hour);
  expect(ticksOf(0, 96 * hour, 6, begins).map((t) => t / hour)).toEqual([23, 47, 70, 94]);
});

test("the range moves only as far as the moment asks, and never beyond now", () => {
  expect(endFor(500, 1000, 600, 2000)).toBe(1000);
  expect(endFor(100, 1000, 600, 2000)).toBe(400);
  expect(endFor(1900, 1000, 600, 2000)).toBe(2000);
});
