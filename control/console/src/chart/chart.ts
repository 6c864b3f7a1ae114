// What all our uPlot charts have in common: colours of the theme, axes, hatching; must not know what is drawn.
import type uPlot from "uplot";
import { dateTime } from "../words";

const X_SIZE = 28;
const FONT = '11px system-ui, "Segoe UI", "DejaVu Sans", sans-serif';

/** Canvas knows no custom properties: read the theme when a chart is made, and make it anew when the theme changes. */
export function colour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

export function seriesColour(index: number): string {
  return colour(`series-${(index % 4) + 1}`);
}

const DASHES: readonly (readonly number[])[] = [[], [9, 4], [2, 3], [9, 3, 2, 3], [5, 3], [14, 4], [2, 6], [9, 3, 2, 3, 2, 3]];

/** Tells lines apart where colours cannot, pixels on and off in turn. */
export function dashesOf(index: number): readonly number[] {
  return DASHES[index % DASHES.length]!;
}

/** The same colour, `alpha` of it: #rrggbb -> #rrggbbaa. */
export function faded(hex: string, alpha: number): string {
  return hex + Math.round(alpha * 255).toString(16).padStart(2, "0");
}

export function axis(more: Partial<uPlot.Axis> = {}): uPlot.Axis {
  return {
    stroke: colour("ink-soft"),
    font: FONT,
    grid: { stroke: colour("line"), width: 0.5 },
    ticks: { stroke: colour("line"), width: 0.5, size: 4 },
    ...more,
  };
}

/** Wall time on the x axis. */
export function timeAxis(): uPlot.Axis {
  return axis({ size: X_SIZE, values: (_chart, splits, _axis, _space, step) => timeTicks(splits, step) });
}

const HALF_DAY_S = 43_200;

/** Times of day, seconds only when the range is short; where a day has few of them its date stands at its start. */
export function timeTicks(splits: readonly number[], step: number): string[] {
  return splits.map((s) => {
    const [date, time] = dateTime(s * 1000, NaN).split(" ") as [string, string];
    if (step < 60) return time;
    const midnight = time === "00:00:00";
    return step >= 2 * HALF_DAY_S || (step >= HALF_DAY_S && midnight) ? date.slice(5) : time.slice(0, 5);
  });
}

/** Hours from the start on the x axis; the data is in seconds. */
export function hoursAxis(horizonS: number): uPlot.Axis {
  const step = [600, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400].find((s) => horizonS / s <= 9) ?? 86_400;
  return axis({
    size: X_SIZE,
    splits: (_chart, _axis, low, high) => {
      const found: number[] = [];
      for (let t = Math.ceil(low / step) * step; t <= high; t += step) found.push(t);
      return found;
    },
    values: (_chart, splits) => splits.map((s) => (step < 3600 ? hoursMinutes(s) : `${s / 3600} h`)),
  });
}

function hoursMinutes(seconds: number): string {
  return `${Math.floor(seconds / 3600)}:${String(Math.round((seconds % 3600) / 60)).padStart(2, "0")} h`;
}

/** Tells when the theme changes; returns how to stop. */
export function onTheme(changed: () => void): () => void {
  const watch = new MutationObserver(changed);
  watch.observe(document.documentElement, { attributeFilter: ["data-theme"] });
  return () => watch.disconnect();
}
