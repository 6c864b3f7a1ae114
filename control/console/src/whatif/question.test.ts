import { expect, test } from "vitest";
import { type Asked, exampleRanges, figuresOf, filled, leftWords, missing, requestOf } from "./question";
import type { PointInfo, WhatIfRun } from "../wire";

const asked: Asked = {
  kind: "compare", scenarios: "a=1\n b=2", ranges: "a=1..3", limits: "t<3, t>5", horizonS: 3600, replications: 64, figures: "",
  sense: "", figure: "", until: "", confidencePercent: 95, method: "kn", delta: 0, budget: 4096, trials: 30, riskPercent: 5,
};
const speed: PointInfo = {
  id: 0, name: "p.speed", twin: "p", property: "speed", type: "double", unit: "%", device: "plc", writable: true, low: 0, high: 120,
  select: false, approvals: 0, approver: "", preflight: "off", title: "", names: [],
};

test("a comparison without a goal is asked without one", () => {
  expect(missing(asked)).toBe("");
  expect(requestOf(asked)).toMatchObject({ kind: "compare", scenarios: ["a=1", "b=2"], limits: ["t<3", "t>5"], goal: "", until: "", confidence: 0.95 });
  expect(requestOf({ ...asked, sense: "min", figure: " energy_kwh " })).toMatchObject({ goal: "min energy_kwh" });
});

test("what is missing is named before anything is asked", () => {
  expect(missing({ ...asked, scenarios: "" })).toContain("scenario");
  expect(missing({ ...asked, scenarios: "a=1\n".repeat(9) })).toContain("rank them");
  expect(missing({ ...asked, sense: "max" })).toContain("figure");
  expect(missing({ ...asked, kind: "rank", figure: "parts" })).toContain("difference");
  expect(missing({ ...asked, kind: "rank", figure: "parts", method: "ocba" })).toBe("");
  expect(missing({ ...asked, kind: "tornado", figure: "parts", ranges: " " })).toContain("range");
  expect(missing({ ...asked, kind: "optimise" })).toContain("figure");
  expect(missing({ ...asked, confidencePercent: 100 })).toContain("Confidence");
});

test("each kind asks for its own and nothing else", () => {
  const more = { ...asked, figure: "parts", delta: 2 };
  expect(requestOf({ ...more, kind: "rank" })).toEqual({
    kind: "rank", scenarios: ["a=1", "b=2"], goal: "max parts", horizon_s: 3600, method: "kn", delta: 2, budget: 4096, confidence: 0.95,
  });
  expect(requestOf({ ...more, kind: "tornado" })).toEqual({
    kind: "tornado", ranges: ["a=1..3"], kpi: "parts", horizon_s: 3600, replications: 64, confidence: 0.95,
  });
  expect(requestOf({ ...more, kind: "optimise", sense: "min" })).toMatchObject({ goal: "min parts", trials: 30, risk: 0.05 });
});

test("a question that was asked fills the form in again", () => {
  const more = { ...asked, figure: "parts", sense: "min" as const, delta: 2, until: "parts±1", figures: "a, b", horizonS: 7200 };
  for (const kind of ["compare", "rank", "tornado", "optimise"] as const) {
    const request = requestOf({ ...more, kind });
    expect(requestOf(filled(asked, request))).toEqual(request);
  }
  expect(filled(more, requestOf(asked)).sense).toBe("");
});

test("ranges and figures are suggested from what the plant has", () => {
  expect(exampleRanges([speed, { ...speed, type: "boolean" }])).toEqual(["p.speed=30..90"]);
  expect(figuresOf(["energy_kwh"], [speed, { ...speed, name: "p.flow", writable: false }])).toEqual([
    "energy_kwh", "p.flow.final", "p.flow.min", "p.flow.max", "p.flow.mean",
  ]);
});

test("time left is told as what it is", () => {
  const run: WhatIfRun = {
    id: "x", kind: "compare", about: "", state: "running", progress: 0.5, started: 0, request: { kind: "compare", scenarios: [] }, result: null,
    error: null, left_s: 61,
  };
  expect(leftWords(run)).toBe("about 2 min left");
  expect(leftWords({ ...run, request: { kind: "compare", scenarios: [], until: "a±1" } })).toBe("at least 2 min left");
  expect(leftWords({ ...run, kind: "rank", left_s: 3.2 })).toBe("at most 4 s left");
  expect(leftWords({ ...run, left_s: null })).toBe("");
});
