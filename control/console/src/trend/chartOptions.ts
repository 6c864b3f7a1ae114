// The lines of one trend chart as uPlot wants them; must not know components or where lines come from.
import uPlot from "uplot";
import { axis, colour, faded, seriesColour, timeAxis } from "../chart/chart";
import type { Series } from "../live/series";
import type { PointInfo } from "../wire";
import { nameOf, valueWords } from "../words";
import { DASHES } from "./drawing";
import type { Band } from "./foretold";
import { scaleOf, scalesOf } from "./groups";

/** Width of a scale with its numbers. */
export const SCALE_PX = 62;

/** One line to draw; `place` is its place among all points shown, which gives its colour. */
export interface Plotted {
  point: PointInfo;
  place: number;
  series: Series;
  yesterday: Series | null;
  band: Band | null;
}

/** A line as it is now; one that goes on keeps its series and fills it. */
export function plottedOf({ point, series, yesterday, band }: Omit<Plotted, "place">, place: number): Plotted {
  return { point, place, series, yesterday, band };
}

/** Cells that only another line's time asks for are no gaps: uPlot draws on over them. */
export function dataOf(lines: readonly Plotted[], until: number): uPlot.AlignedData {
  const tables = lines.flatMap((line): uPlot.AlignedData[] => [
    held(line.series, until),
    ...(line.yesterday ? [[line.yesterday.time, line.yesterday.value] as uPlot.AlignedData] : []),
    ...(line.band ? [[line.band.time, line.band.low, line.band.middle, line.band.high] as uPlot.AlignedData] : []),
  ]);
  return tables.length === 1 ? tables[0]! : uPlot.join(tables);
}

/** History has changes: the last one holds until `until`, in seconds. */
function held({ time, value }: Series, until: number): uPlot.AlignedData {
  const last = time.at(-1);
  return last === undefined || last >= until ? [time, value] : [[...time, until], [...value, value.at(-1) ?? null]];
}

/** What makes a chart another one: its series, not their values. */
export function shapeOf(lines: readonly Plotted[]): string {
  return lines.map((l) => `${l.point.name} ${l.place} ${l.yesterday !== null} ${l.band !== null} ${l.series.whole}`).join();
}

export function seriesAndBands(lines: readonly Plotted[]): { series: uPlot.Series[]; bands: uPlot.Band[] } {
  const scales = scalesOf(lines.map((l) => l.point));
  const series: uPlot.Series[] = [{}];
  const bands: uPlot.Band[] = [];
  const points = { show: false };
  lines.forEach((line, n) => {
    const scale = `y${scales.indexOf(scaleOf(line.point))}`;
    const stroke = seriesColour(line.place);
    // All readings: each holds until the next. Of extremes of stretches nobody knows when they were.
    const steps = (isStates(line.point) || line.series.whole) && uPlot.paths.stepped ? { paths: uPlot.paths.stepped({ align: 1 }) } : {};
    series.push({ scale, stroke, width: 1.6, dash: [...DASHES[n]!], spanGaps: false, points, ...steps });
    if (line.yesterday) series.push({ scale, stroke: colour("line-strong"), width: 1.2, spanGaps: false, points, ...steps });
    if (line.band) {
      const edge = { scale, stroke: faded(stroke, 0.5), width: 0.8, points };
      series.push(edge, { scale, stroke, width: 1.2, dash: [3, 3], points }, edge);
      bands.push({ series: [series.length - 1, series.length - 3], fill: faded(stroke, 0.16) });
    }
  });
  return { series, bands };
}

export function scalesAndAxes(points: readonly PointInfo[]): Pick<uPlot.Options, "scales" | "axes"> {
  const names = scalesOf(points);
  const scales: uPlot.Scales = { x: { time: true } };
  const axes: uPlot.Axis[] = [timeAxis()];
  names.forEach((name, n) => {
    const first = points.find((p) => scaleOf(p) === name)!;
    const last = Math.max(1, ...first.names.map((v) => v.value));
    scales[`y${n}`] = isStates(first) ? { range: [-0.15, last + 0.15] } : {};
    axes.push(
      axis({
        scale: `y${n}`,
        size: SCALE_PX,
        space: 26,
        ...(n === 1 ? { side: 1, grid: { show: false } } : {}),
        ...(isStates(first) ? stateTicks(first) : {}),
      }),
    );
  });
  return { scales, axes };
}

function isStates(point: PointInfo): boolean {
  return point.type === "boolean" || point.names.length > 0;
}

function stateTicks(point: PointInfo): Partial<uPlot.Axis> {
  const all = point.names.length > 0 ? point.names.map((v) => v.value) : [0, 1];
  return {
    splits: () => all,
    values: (_chart, found) => found.map((v) => nameOf(point, v) ?? valueWords(point, v, undefined)),
  };
}
