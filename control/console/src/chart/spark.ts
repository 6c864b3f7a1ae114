// The path of a spark, a course without axes; must not know where its samples come from.

export const SPARK_WIDTH = 120;
export const SPARK_HEIGHT = 26;
const MARGIN = 2;

/** From `from` to `to` over the whole width; a sample that is null or NaN is a gap and stays one. "" where nothing is known. */
export function sparkPath(time: ArrayLike<number>, value: ArrayLike<number | null>, [from, to]: readonly [number, number]): string {
  let [low, high] = [Infinity, -Infinity];
  for (let i = 0; i < time.length; i++) {
    const v = value[i] ?? NaN;
    if (v < low) low = v;
    if (v > high) high = v;
  }
  if (low > high) return "";
  // A flat line belongs in the middle, and noise of the last digit must not look like a storm.
  const least = Math.max(1e-9, Math.abs(high) * 0.01);
  if (high - low < least) [low, high] = [(low + high - least) / 2, (low + high + least) / 2];
  let [words, pen] = ["", "M"];
  for (let i = 0; i < time.length; i++) {
    const v = value[i] ?? NaN;
    if (Number.isNaN(v)) {
      pen = "M";
      continue;
    }
    const x = SPARK_WIDTH * Math.max(0, (time[i]! - from) / Math.max(1, to - from));
    const y = SPARK_HEIGHT - MARGIN - ((v - low) / (high - low)) * (SPARK_HEIGHT - 2 * MARGIN);
    words += `${pen}${x.toFixed(1)} ${y.toFixed(1)}`;
    pen = "L";
  }
  return words;
}
