// What stands around saved charts, so that the picture can be read without the page; must not know how it is drawn.
import type { PointInfo } from "../wire";
import { dateTime, zoneWords } from "../words";
import { DASHES } from "./drawing";
import { scalesOf } from "./groups";
import { SIGN_NAMES, type Happening } from "./happenings";
import { doubts } from "./stretches";
import type { Plotted } from "./chartOptions";

export interface LegendLine {
  words: string;
  /** Place among all that are shown, which gives its colour. */
  place: number;
  dash: readonly number[];
}
export interface Legend {
  lines: LegendLine[];
  /** Units of the scale at the left, and of the one at the right where there are two. */
  units: string[];
}

export function legendOf(plotted: readonly Plotted[]): Legend {
  return {
    lines: plotted.map((plot, n) => ({ words: lineWords(plot), place: plot.place, dash: DASHES[n]! })),
    units: scalesOf(plotted.map((p) => p.point)).map((scale) => unitWords(scale)),
  };
}

function lineWords({ point, series, yesterday, band }: Plotted): string {
  return [
    named(point),
    band ? "band: forecast, its middle dotted" : "",
    yesterday ? (yesterday.time.length > 0 ? "grey: yesterday" : "nothing kept of yesterday") : "",
    series.time.length > 0 && !series.whole ? "min/max" : "",
  ].filter((w) => w !== "").join("; ");
}

const named = (point: PointInfo): string => `${point.name}${point.unit ? `, ${point.unit}` : ""}`;

const unitWords = (scale: string): string => (scale.startsWith("states of ") ? "state" : scale || "no unit");

/** `Net3, 2026-11-22 10:00:00 … 2026-11-22 11:00:00, UTC+01:00 (Europe/Berlin)`. */
export function titleOf(plant: string, [from, to]: readonly [number, number], zone: string = zoneWords(to)): string {
  return `${plant}, ${dateTime(from, NaN)} … ${dateTime(to, NaN)}, ${zone}`;
}

/** What the signs that are drawn mean; of those that are not drawn nothing is said. */
export function keyOf(plotted: readonly Plotted[], happened: readonly Happening[], now: number, until: number): string[] {
  const signs = [...new Set(happened.map((h) => h.sign))];
  const severities = new Set(plotted.flatMap((p) => doubts(p.series, Math.min(now, until) / 1000)).map((d) => Math.min(2, d.severity)));
  return [
    ...signs.map((sign) => SIGN_NAMES[sign]),
    ...(signs.length > 1 ? ["■ several of them"] : []),
    ...(severities.has(1) ? ["strip at the foot, slanted: uncertain"] : []),
    ...(severities.has(2) ? ["strip at the foot, crossed: bad"] : []),
  ];
}
