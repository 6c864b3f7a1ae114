// Which table of values the components around show: the live one, unless a view has put another in its place.
import { getContext, setContext } from "svelte";
import type { WorstAlarm } from "../alarms/alarmsThen";
import type { PointTable } from "./points";
import { session } from "./session.svelte";

export interface Shown {
  readonly table: PointTable;
  /** Grows when values changed: whoever shows values reads it. */
  readonly tick: number;
  /** The moment that ages are told from. */
  readonly now: number;
  /** Every twin that has an open alarm at that moment, itself or in its parts. */
  readonly alarmsOf: ReadonlyMap<string, WorstAlarm>;
  /** Nothing can be commanded in the past, and nothing grows stale there. */
  readonly past: boolean;
}

const KEY = Symbol("shown");

export const shown = (): Shown => getContext<Shown | undefined>(KEY) ?? session;
export const show = (instead: Shown): void => void setContext(KEY, instead);
