// From what the form holds to what the server is asked, and what is missing; must not know components.
import { lines } from "./scenario";
import type { PointInfo, WhatIfRun } from "../wire";

export type Kind = WhatIfRun["kind"];

/** Each kind of question in its own words; the order is that of the form. */
export const KINDS: readonly { kind: Kind; label: string; does: string }[] = [
  { kind: "compare", label: "Compare", does: "Up to 8 scenarios with the plant left as it is." },
  { kind: "rank", label: "Rank", does: "Finds the best of many; clear losers are dropped early." },
  { kind: "tornado", label: "What matters", does: "What each parameter alone does, at its low and at its high end." },
  { kind: "optimise", label: "Search", does: "Tries values within ranges, and compares the best with the plant left as it is." },
];
const COMPARED_MOST = 8;
export const labelOf = (kind: Kind): string => KINDS.find((k) => k.kind === kind)?.label ?? kind;

export interface Asked {
  kind: Kind;
  scenarios: string;
  ranges: string;
  limits: string;
  horizonS: number;
  replications: number;
  /** Figures to tell besides, by comma; for a tornado the one. */
  figures: string;
  /** "" when nothing is said to be better. */
  sense: "" | "max" | "min";
  figure: string;
  until: string;
  confidencePercent: number;
  method: "kn" | "ocba";
  delta: number;
  budget: number;
  trials: number;
  riskPercent: number;
}

/** What is still to be filled in, in words; "" when it can be asked. The server checks again. */
export function missing(a: Asked): string {
  const what = a.kind === "compare" || a.kind === "rank" ? lines(a.scenarios) : lines(a.ranges);
  if (what.length === 0) return a.kind === "compare" || a.kind === "rank" ? "Write a scenario." : "Write a range.";
  if (a.kind === "compare" && what.length > COMPARED_MOST) return `More than ${COMPARED_MOST} scenarios: rank them.`;
  if (a.kind === "tornado" && a.figure.trim() === "") return "Name the figure.";
  if ((a.kind === "rank" || a.kind === "optimise" || (a.kind === "compare" && a.sense !== "")) && a.figure.trim() === "") return "Name the figure that is to be large or small.";
  if (a.kind === "rank" && a.method === "kn" && !(a.delta > 0)) return "Say from which difference on it matters.";
  if (!(a.confidencePercent >= 50 && a.confidencePercent < 100)) return "Confidence: 50 … 99.9 %.";
  if (!(a.replications >= 2)) return "At least 2 replications.";
  return "";
}

export function requestOf(a: Asked): WhatIfRun["request"] {
  const goal = `${a.sense || "max"} ${a.figure.trim()}`;
  const limits = lines(a.limits.replaceAll(",", "\n"));
  const confidence = a.confidencePercent / 100;
  const { horizonS: horizon_s, replications } = a;
  switch (a.kind) {
    case "compare":
      return {
        kind: "compare", scenarios: lines(a.scenarios), horizon_s, limits, replications, confidence,
        kpis: lines(a.figures.replaceAll(",", "\n")), goal: a.sense === "" ? "" : goal, until: a.until.trim(),
      };
    case "rank":
      return { kind: "rank", scenarios: lines(a.scenarios), goal, horizon_s, method: a.method, delta: a.delta, budget: a.budget, confidence };
    case "tornado":
      return { kind: "tornado", ranges: lines(a.ranges), kpi: a.figure.trim(), horizon_s, replications, confidence };
    case "optimise":
      return { kind: "optimise", ranges: lines(a.ranges), goal, horizon_s, limits, risk: a.riskPercent / 100, trials: a.trials, replications };
  }
}

/** The form as it was when this was asked; what it does not tell stays. */
export function filled(a: Asked, r: WhatIfRun["request"]): Asked {
  const [sense, ...words] = "goal" in r ? (r.goal ?? "").split(" ") : [];
  const again: Asked = { ...a, kind: r.kind, horizonS: r.horizon_s ?? a.horizonS };
  if (sense === "max" || sense === "min") Object.assign(again, { sense, figure: words.join(" ") });
  else if (r.kind === "compare") again.sense = "";
  if ("scenarios" in r) again.scenarios = r.scenarios.join("\n");
  if ("ranges" in r) again.ranges = r.ranges.join("\n");
  if ("limits" in r) again.limits = (r.limits ?? []).join(", ");
  if ("replications" in r) again.replications = r.replications ?? a.replications;
  if ("confidence" in r) again.confidencePercent = Math.round(1000 * (r.confidence ?? 0.95)) / 10;
  switch (r.kind) {
    case "compare":
      return { ...again, until: r.until ?? "", figures: (r.kpis ?? []).join(", ") };
    case "rank":
      return { ...again, method: r.method ?? "kn", delta: r.delta ?? 0, budget: r.budget ?? a.budget };
    case "tornado":
      return { ...again, figure: r.kpi };
    case "optimise":
      return { ...again, trials: r.trials ?? a.trials, riskPercent: 100 * (r.risk ?? 0.05) };
  }
}

/** A few ranges that this plant allows: the middle half of what a point may be set to. */
export function exampleRanges(writable: readonly PointInfo[]): string[] {
  return writable
    .filter((p) => p.type !== "boolean" && p.type !== "enum" && p.low !== null && p.high !== null && p.high > p.low)
    .toSorted((p, q) => Number(q.type === "integer") - Number(p.type === "integer"))
    .slice(0, 3)
    .map((p) => {
      const quarter = (p.high! - p.low!) / 4;
      const [low, high] = [p.low! + quarter, p.high! - quarter].map((x) => (p.type === "integer" ? Math.round(x) : Number(x.toPrecision(3))));
      return `${p.name}=${low}..${high}`;
    });
}

const TOLD = ["final", "min", "max", "mean"];
const SUGGESTED_MOST = 400;

/** Figures that may be asked for: those that a result told, then those of measured points. */
export function figuresOf(told: readonly string[], points: readonly PointInfo[]): string[] {
  const measured = points.filter((p) => !p.writable && p.type !== "boolean" && p.type !== "string");
  return [...new Set([...told, ...measured.flatMap((p) => TOLD.map((f) => `${p.name}.${f}`))])].slice(0, SUGGESTED_MOST);
}

/** How long it still takes, in words; a ranking may end before, a precision may ask for more. */
export function leftWords(run: WhatIfRun): string {
  const s = Math.ceil(run.left_s ?? 0);
  if (s <= 0) return "";
  const length = s < 60 ? `${s} s` : `${Math.ceil(s / 60)} min`;
  return run.kind === "rank" ? `at most ${length} left` : run.request.kind === "compare" && run.request.until ? `at least ${length} left` : `about ${length} left`;
}
