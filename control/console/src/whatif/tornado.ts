// The shape of a tornado's result (sim/sensitivity.py, Tornado.to_json) and where its bars go; must not know the screen.
import type { Difference } from "./whatif";
import type { AnswerBar, AnswerTornado } from "../wire";

export type Bar = AnswerBar;
/** Its bars: the widest first. */
export type Tornado = AnswerTornado;

/** The result of a run; throws when it is not of the shape. */
export function readTornado(content: object): Tornado {
  const found = content as Tornado;
  if (!Array.isArray(found.bars) || found.bars.length === 0) throw new Error("This tornado is not of a form that this console knows.");
  return found;
}

/** One end of a bar: from the base to `to`, with the interval `from` … `until`; all in shares of the width. */
export interface End {
  which: "low" | "high";
  value: number;
  told: Difference;
  left: number;
  width: number;
  from: number;
  until: number;
}

/** Where the base stands, and both ends of each bar, on one scale; the intervals are on it too. */
export function ends(tornado: Tornado): { zero: number; low: number; high: number; rows: { parameter: string; ends: End[] }[] } {
  const all = tornado.bars.flatMap((b) => [b.low, b.high]);
  const low = Math.min(0, ...all.map((d) => d.mean - (d.half_width ?? 0)));
  const high = Math.max(0, ...all.map((d) => d.mean + (d.half_width ?? 0)));
  const span = high - low || 1;
  const share = (x: number): number => (x - low) / span;
  const end = (which: "low" | "high", value: number, told: Difference): End => ({
    which,
    value,
    told,
    left: share(Math.min(0, told.mean)),
    width: Math.abs(told.mean) / span,
    from: share(told.mean - (told.half_width ?? 0)),
    until: share(told.mean + (told.half_width ?? 0)),
  });
  const rows = tornado.bars.map((b) => ({
    parameter: b.parameter,
    ends: [end("low", b.low_value, b.low), end("high", b.high_value, b.high)],
  }));
  return { zero: share(0), low, high, rows };
}
