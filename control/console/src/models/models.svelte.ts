// The models in service and those of the registry, asked for again while they are looked at; must not know how they are shown.
import * as api from "../api";
import { session } from "../live/session.svelte";
import { bandOf, toldOf, type Band, type Told } from "../trend/foretold";
import { calibration, type Calibration } from "../trend/fared";
import { Line } from "../trend/trends.svelte";
import type { ErrorBody, LearnedRecord, ModelRecord } from "../wire";

const SAMPLES = 3_000;

export class Models {
  rows = $state.raw<LearnedRecord[] | null>(null);
  known = $state.raw<ModelRecord[]>([]);
  problem = $state.raw<ErrorBody | null>(null);

  async load(): Promise<void> {
    try {
      [this.rows, this.known] = await Promise.all([api.learned(), api.models()]);
      this.problem = null;
    } catch (error) {
      this.problem = session.notice(error);
    }
  }

  /** What went wrong, or null. */
  async train(row: string, reason: string): Promise<ErrorBody | null> {
    return this.act(api.retrain(row, reason));
  }

  async stop(row: string): Promise<ErrorBody | null> {
    return this.act(api.stopTraining(row));
  }

  private async act(call: Promise<unknown>): Promise<ErrorBody | null> {
    try {
      await call;
      await this.load();
      return null;
    } catch (error) {
      return session.notice(error);
    }
  }
}

/** One point that a model forecasts, with all its times ahead, over one stretch of time. */
export class Comparison {
  line = $state.raw<Line | null>(null);
  bands = $state.raw(new Map<number, Band>());
  calibrations = $state.raw<Calibration[]>([]);
  problem = $state.raw<ErrorBody | null>(null);
  private asked = 0;

  async load(point: string, told: readonly Told[], from: number, to: number): Promise<void> {
    const asked = ++this.asked;
    const info = session.pointOfName.get(point);
    if (info === undefined) return;
    try {
      const line = new Line(info);
      const [bands] = await Promise.all([Promise.all(told.map((t) => band(t, from, to))), line.load([from, to], SAMPLES, false)]);
      if (asked !== this.asked) return;
      const actual = (time: number): number | null => line.series.at(time)?.value ?? null;
      this.bands = new Map(told.map((t, n) => [t.seconds, bands[n]!]));
      this.calibrations = told.map((t, n) => calibration(t.seconds, bands[n]!, actual, to / 1000));
      this.line = line;
      this.problem = line.problem;
    } catch (error) {
      if (asked === this.asked) this.problem = session.notice(error);
    }
  }
}

async function band(told: Told, from: number, to: number): Promise<Band> {
  const before = told.seconds * 1000;
  const trends = await Promise.all([told.value, told.low, told.high].map((n) => api.history(n, from - before, to, SAMPLES)));
  return bandOf(trends[0]!, trends[1]!, trends[2]!, told.seconds);
}

/** The points that a row forecasts, each with its times ahead. */
export function forecastsOf(row: string): Map<string, Told[]> {
  const found = new Map<string, Told[]>();
  for (const points of session.pointsOfTwin.values()) {
    if (!points.some((p) => p.property.startsWith(`${row}_`))) continue;
    for (const point of points) {
      const told = toldOf(point, points).filter((t) => t.row === row);
      if (told.length > 0) found.set(point.name, told);
    }
  }
  return found;
}
