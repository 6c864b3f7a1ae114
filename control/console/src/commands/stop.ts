// The two steps of an emergency stop: pressed, then confirmed in time; must not know clocks, the server or the screen.
import type { StopInfo } from "../wire";

/** Long enough to read what it sets, short enough that a press forgotten about does not wait for the next hand. */
export const CONFIRM_MS = 5_000;
/** A held key or a trembling hand presses again at once: that is no second decision. */
export const TREMBLE_MS = 300;

export type Press =
  | { at: "rest" }
  | { at: "choice" }
  | { at: "armed"; stop: StopInfo; since: number }
  | { at: "lapsed" }
  | { at: "given"; stop: StopInfo };

export const REST: Press = { at: "rest" };

/** The button in the top bar. With one stop it is armed at once, with several one is chosen first. `now` in ms. */
export function pressed(press: Press, stops: readonly StopInfo[], now: number): Press {
  if (press.at === "armed" || press.at === "given") return press;
  return stops.length === 1 ? chosen(stops[0]!, now) : { at: "choice" };
}

export function chosen(stop: StopInfo, now: number): Press {
  return { at: "armed", stop, since: now };
}

export function confirmed(press: Press, now: number): Press {
  if (press.at !== "armed") return press;
  if (left(press, now) <= 0) return { at: "lapsed" };
  return trembling(press, now) ? press : { at: "given", stop: press.stop };
}

export function trembling(press: Press, now: number): boolean {
  return press.at === "armed" && now - press.since < TREMBLE_MS;
}

/** As time passes. */
export function elapsed(press: Press, now: number): Press {
  return press.at === "armed" && left(press, now) <= 0 ? { at: "lapsed" } : press;
}

/** ms in which it can still be confirmed. */
export function left(press: Press, now: number): number {
  return press.at === "armed" ? press.since + CONFIRM_MS - now : 0;
}
