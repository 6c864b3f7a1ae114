// When a value or the whole screen is too old, or too bad, to be believed; must not know sockets or components.

/** A screen without frame or heartbeat for this long is stale; said within another `CHECK_EVERY_MS`. */
export const SCREEN_STALE_MS = 2_500;
export const CHECK_EVERY_MS = 250;

/** A single value older than this is stale. */
export const VALUE_STALE_MS = 10_000;

/** How a value may be looked at. Ordered: the larger, the less it may be believed. */
export const Look = { good: 0, stale: 1, uncertain: 2, bad: 3, none: 4 } as const;
export type Look = (typeof Look)[keyof typeof Look];

export const LOOK_NAMES = ["good", "stale", "uncertain", "bad", "none"] as const;

// OPC UA Part 4, 7.39: the codes that twin/quality.py names.
const QUALITY_WORDS = new Map<number, string>([
  [0x00000000, "good"],
  [0x40000000, "uncertain"],
  [0x40900000, "uncertain: last usable value"],
  [0x408f0000, "uncertain: no communication, last usable value"],
  [0x40940000, "uncertain: outside the range it knows"],
  [0x40950000, "uncertain: fewer good sources than it needs"],
  [0x80000000, "bad"],
  [0x80050000, "bad: communication error"],
  [0x800a0000, "bad: timed out"],
  [0x80320000, "bad: waiting for the first value"],
  [0x80310000, "bad: no communication"],
  [0x80340000, "bad: device does not know the address"],
  [0x803c0000, "bad: out of range"],
  [0x808a0000, "bad: not connected"],
  [0x808b0000, "bad: device failure"],
  [0x808c0000, "bad: sensor failure"],
  [0x809b0000, "bad: no data"],
]);
const SEVERITY_WORDS = ["good", "uncertain", "bad", "bad"] as const;

export function qualityWords(quality: number): string {
  const code = quality >>> 0;
  const severity = SEVERITY_WORDS[code >>> 30] ?? "bad";
  return QUALITY_WORDS.get(code) ?? `${severity} (0x${code.toString(16).toUpperCase().padStart(8, "0")})`;
}

/**
 * Bad outranks uncertain outranks stale: the reader is told the worst that is known.
 * `heard` is NaN or 0 for a point that has no value. `ages` is false for points that Twinloop computes itself: those change seldom and the heartbeat vouches for them.
 */
export function lookOf(quality: number, heard: number, now: number, ages: boolean): Look {
  if (heard === 0 || Number.isNaN(heard)) return Look.none;
  const severity = quality >>> 30;
  if (severity >= 2) return Look.bad;
  if (severity === 1) return Look.uncertain;
  return ages && now - heard > VALUE_STALE_MS ? Look.stale : Look.good;
}

/** `silent` is the time without any frame, in ms. */
export function screenIsStale(silent: number): boolean {
  return silent > SCREEN_STALE_MS;
}

/**
 * Server's clock minus ours, from the times that heartbeats carry. A frame can only arrive late, never early, so the
 * largest of the latest differences is the nearest to the truth.
 */
export class ClockOffset {
  private readonly latest: number[] = [];
  offset = 0;

  observe(serverTime: number, ourTime: number): void {
    this.latest.push(serverTime - ourTime);
    if (this.latest.length > 16) this.latest.shift();
    this.offset = Math.max(...this.latest);
  }
}
