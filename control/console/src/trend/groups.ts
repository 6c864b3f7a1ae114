// Which points share a chart; must not know how charts are drawn.
import type { PointInfo } from "../wire";

export const GROUPINGS = [
  { name: "one chart each", grouping: "each" },
  { name: "by unit", grouping: "unit" },
  { name: "overlaid, two units a chart", grouping: "two" },
] as const;
export type Grouping = (typeof GROUPINGS)[number]["grouping"];
export const POINTS_MAX = 8;

/** Values that can be read off one scale. */
export function scaleOf(point: PointInfo): string {
  return point.names.length > 0 || point.type === "boolean" ? `states of ${point.type}` : point.unit;
}

export function readGrouping(text: string | null): Grouping {
  return GROUPINGS.find((g) => g.grouping === text)?.grouping ?? "each";
}

/** Charts in the order of their first points; a chart has at most as many scales as its grouping allows. */
export function grouped(points: readonly PointInfo[], grouping: Grouping): PointInfo[][] {
  if (grouping === "each") return points.map((p) => [p]);
  const scales = grouping === "unit" ? 1 : 2;
  const charts: PointInfo[][] = [];
  for (const point of points) {
    const scale = scaleOf(point);
    const fits = (chart: PointInfo[]): boolean => new Set([...chart.map(scaleOf), scale]).size <= scales;
    const chart = charts.find((c) => c.some((p) => scaleOf(p) === scale)) ?? charts.find(fits);
    if (chart) chart.push(point);
    else charts.push([point]);
  }
  return charts;
}

/** The scales of a chart: the first is read at the left, the second at the right. */
export function scalesOf(chart: readonly PointInfo[]): string[] {
  return [...new Set(chart.map(scaleOf))];
}
