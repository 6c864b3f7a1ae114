import { expect, test } from "vitest";
import { examples, lines, stepText, valueMistake } from "./scenario";
import { differenceRows, hasNoEffect, isGone, LOST, lostRun, OVERDUE, outputsOf, readResult, riskTimes, scenariosOf, stepOf, verdict } from "./whatif";
import type { CommandRequest, PointInfo, WhatIfPlan, WhatIfRun } from "../wire";

const fan = [0.05, 0.25, 0.5, 0.75, 0.95].map((q) => [q, q]);
const result = {
  times_s: [0, 600],
  units: { "tank_1.level": "m" },
  outcomes: [
    { name: "baseline", fans: { "tank_1.level": fan }, kpis: { "tank_1.level.min": { mean: 4, quantiles: [] } }, differences: {}, limits: [] },
    {
      name: "pump off",
      fans: { "tank_1.level": fan },
      kpis: { "tank_1.level.min": { mean: 3, quantiles: [] } },
      differences: { "tank_1.level.min": { mean: -1, half_width: null, p_greater: 0, resolved: false } },
      limits: [],
    },
  ],
};

const pump: PointInfo = {
  id: 0, name: "pump_335.status", twin: "pump_335", property: "status", type: "boolean", unit: "", device: "plc",
  writable: true, low: null, high: null, select: false, approvals: 0, approver: "", preflight: "off", title: "", names: [],
};
const speed: PointInfo = { ...pump, id: 1, name: "pump_335.speed", property: "speed", type: "double", unit: "%", low: 0, high: 120 };

test("a result of sim/result.py is read into rows with units", () => {
  const read = readResult(result);
  expect(outputsOf(read)).toEqual(["tank_1.level"]);
  const rows = differenceRows(read, scenariosOf(read)[0]!);
  expect(rows).toMatchObject([{ name: "tank_1.level.min", unit: "m", baseline: 4, scenario: 3 }]);
});

test("what differs by nothing at all has no effect, what the runs cannot tell is not resolved", () => {
  const told = (mean: number, half_width: number | null, resolved: boolean): string => verdict({ mean, half_width, resolved });
  expect([told(0, 0, false), told(0, 0.1, false), told(0.2, null, false), told(1, 0.1, true)]).toEqual(["no effect", "not resolved", "not resolved", ""]);
  expect(hasNoEffect({ mean: 0, half_width: null })).toBe(false);
});

test("a result of another form is refused, not half drawn", () => {
  expect(() => readResult({})).toThrow();
  expect(() => readResult({ ...result, outcomes: [{ fans: { a: [[1]] } }] })).toThrow(/quantiles/);
});

test("risks are told at few times, the last one always", () => {
  const read = readResult({ ...result, times_s: Array.from({ length: 25 }, (_, i) => i * 600) });
  const times = riskTimes(read, 8);
  expect(times.at(-1)).toBe(24);
  expect(times.length).toBeLessThanOrEqual(8);
});

test("scenarios are written as the server reads them", () => {
  const points = new Map([pump, speed].map((p) => [p.name, p]));
  expect(stepText({ point: pump.name, value: 0, at_s: 1800, for_s: 14_400 }, points)).toBe("pump_335.status=off at 30m for 4h");
  expect(stepText({ point: speed.name, value: 80, at_s: 0, for_s: null }, points)).toBe("pump_335.speed=80");
  expect(lines(" a=1 \n\n b=2")).toEqual(["a=1", "b=2"]);
});

test("examples change what is so now, and what there is one of comes first", () => {
  const crew: PointInfo = { ...speed, name: "crew.size", property: "size", type: "integer", unit: "", low: 0, high: 6 };
  const of = (status: number, size: number): string[] =>
    examples([{ point: pump, now: status, alone: true }, { point: speed, now: 100, alone: true }, { point: crew, now: size, alone: true }]);
  expect(of(1, 1)).toEqual(["crew.size=2", "pump_335.status=off for 4h", "pump_335.speed=70 at 30m for 2h"]);
  expect(of(0, 6).slice(0, 2)).toEqual(["crew.size=5", "pump_335.status=on for 4h"]);
  expect(examples([{ point: { ...crew, low: null }, now: 1, alone: true }])).toEqual([]);
});

test("a value out of range is named before anything is sent", () => {
  expect(valueMistake(speed, 130)).toBe("At most 120 %");
  expect(valueMistake(speed, NaN)).not.toBe("");
  expect(valueMistake(speed, 80)).toBe("");
});

test("a run that the server lost while it went on is over; what was found stands", () => {
  expect(isGone({ code: "not_found", message: "no what-if 'w'", hint: "" })).toBe(true);
  expect(isGone({ code: "unreachable", message: "", hint: "" })).toBe(false);
  const run = { id: "w", state: "running", error: null } as WhatIfRun;
  expect(lostRun(run)).toEqual({ id: "w", state: "failed", error: LOST });
  expect(lostRun({ ...run, state: "done" })).toEqual({ ...run, state: "done" });
});

test("a step of a plan is prepared only while none of its moments is past", () => {
  const plan = { id: "w", overdue: false, commands: [{ point: "a" }, { point: "b" }] as CommandRequest[] } as WhatIfPlan;
  expect(stepOf(plan, 2).point).toBe("b");
  expect(() => stepOf(plan, 3)).toThrow("no step 3");
  expect(() => stepOf({ ...plan, overdue: true }, 2)).toThrow(OVERDUE);
});
