// How forecasts fared against what came: residuals and calibration; must not know charts or models.
import { heldShare, type Band } from "./foretold";

export interface Residuals {
  time: number[];
  value: (number | null)[];
}
export interface Calibration {
  seconds: number;
  held: number;
  of: number;
  /** Root of the mean squared residual, in the point's unit; null where nothing came due. */
  error: number | null;
}

/** What came less what was told, at the time it was told of. */
export function residuals(band: Band, actual: (time: number) => number | null, until: number): Residuals {
  const value = band.time.map((time, i) => {
    const [told, came] = [band.middle[i] ?? null, time <= until ? actual(time) : null];
    return told === null || came === null ? null : came - told;
  });
  return { time: band.time, value };
}

export function calibration(seconds: number, band: Band, actual: (time: number) => number | null, until: number): Calibration {
  const known = residuals(band, actual, until).value.filter((v): v is number => v !== null);
  const square = known.reduce((sum, v) => sum + v * v, 0);
  return { seconds, ...heldShare(band, actual, until), error: known.length === 0 ? null : Math.sqrt(square / known.length) };
}

/** Whether so many misses still agree with the promise: within two standard deviations of what chance gives. */
export function promiseKept({ held, of }: Calibration, promise: number): "kept" | "too sure" | "too unsure" | "unknown" {
  if (of < 20) return "unknown";
  const slack = 2 * Math.sqrt((promise * (1 - promise)) / of);
  if (held / of < promise - slack) return "too sure";
  return held / of > promise + slack ? "too unsure" : "kept";
}
