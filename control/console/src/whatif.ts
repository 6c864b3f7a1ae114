// The shape of a what-if's result (sim/result.py, Result.to_json) and what is read out of it; nothing else knows it.

/** Rows of a fan, in this order. */
export const QUANTILES = [0.05, 0.25, 0.5, 0.75, 0.95] as const;

export interface Figure {
  mean: number;
  quantiles: number[];
}

/** Scenario minus baseline. `half_width` is null when a single pair allows no interval. */
export interface Difference {
  mean: number;
  half_width: number | null;
  p_greater: number;
  resolved: boolean;
}

export interface LimitRisk {
  limit: string;
  probability: number[];
  low: number[];
  high: number[];
}

export interface Outcome {
  name: string;
  fans: Record<string, number[][]>;
  kpis: Record<string, Figure>;
  differences: Record<string, Difference>;
  limits: LimitRisk[];
}

export interface Result {
  taken_at: number;
  clock_s: number;
  state_hash: string;
  backend: string;
  seed: number;
  replications: number;
  stopped: string;
  horizon_s: number;
  demand_multiplier: number | null;
  times_s: number[];
  units: Record<string, string>;
  outcomes: Outcome[];
  wall_s: number;
}

/** The result of a run; throws when it is not of the shape, so that no half picture is drawn. */
export function readResult(content: Record<string, unknown>): Result {
  const result = content as unknown as Result;
  const outcomes = result.outcomes;
  if (!Array.isArray(outcomes) || outcomes.length === 0 || !Array.isArray(result.times_s)) {
    throw new Error("This result is not of a form that this console knows.");
  }
  for (const outcome of outcomes) {
    for (const [point, fan] of Object.entries(outcome.fans)) {
      if (fan.length !== QUANTILES.length) throw new Error(`The fan of ${point} has ${fan.length} quantiles.`);
    }
  }
  return result;
}

export const baselineOf = (result: Result): Outcome => result.outcomes[0]!;
export const scenariosOf = (result: Result): Outcome[] => result.outcomes.slice(1);
export const outputsOf = (result: Result): string[] => Object.keys(baselineOf(result).fans);

/** One row of the table of differences. */
export interface DifferenceRow {
  name: string;
  unit: string;
  baseline: number;
  scenario: number;
  difference: Difference;
}

export function differenceRows(result: Result, scenario: Outcome): DifferenceRow[] {
  const base = baselineOf(result);
  return Object.entries(scenario.differences).map(([name, difference]) => ({
    name,
    unit: unitOf(result, name),
    baseline: base.kpis[name]?.mean ?? NaN,
    scenario: scenario.kpis[name]?.mean ?? NaN,
    difference,
  }));
}

/** Hours at which a risk is told: at most `most` of the sample times, the last one always. */
export function riskTimes(result: Result, most: number): number[] {
  const last = result.times_s.length - 1;
  const step = Math.max(1, Math.ceil(last / most));
  const found: number[] = [];
  for (let i = last; i > 0; i -= step) found.unshift(i);
  return found;
}

/** Figures are called point.figure, `tank_1.level.min`, or carry their unit last, `energy_kwh`. */
function unitOf(result: Result, figure: string): string {
  const point = figure.slice(0, figure.lastIndexOf("."));
  return result.units[point] ?? (figure.endsWith("_kwh") ? "kWh" : "");
}
