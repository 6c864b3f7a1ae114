// The whole plant at a past moment, as the server tells it; asks for one moment at a time and skips those in between.
import { worstThen } from "../alarms/alarmsThen";
import * as api from "../api";
import { decodeColumns, unpacked } from "../live/columns";
import { PointTable } from "../live/points";
import { session } from "../live/session.svelte";
import type { Shown } from "../live/shown.svelte";
import type { ErrorBody, PlantState } from "../wire";

export class Past implements Shown {
  readonly past = true;
  table = $state.raw(new PointTable([], 0));
  tick = $state(0);
  /** What is shown; null before the first answer. */
  state = $state.raw<PlantState | null>(null);
  problem = $state.raw<ErrorBody | null>(null);
  waiting = $state(false);
  private wanted: { at: number; known: number | null } | null = null;

  readonly alarmsOf = $derived(worstThen(this.state?.alarms ?? [], session.wholeOf));

  get now(): number {
    return this.state?.at ?? 0;
  }

  /** `known` null: as it is known today. A moment asked for while another is on its way replaces those not asked yet. */
  show(at: number, known: number | null): void {
    this.wanted = { at, known };
    if (!this.waiting) void this.work();
  }

  private async work(): Promise<void> {
    this.waiting = true;
    while (this.wanted !== null) {
      const { at, known } = this.wanted;
      this.wanted = null;
      try {
        this.take(await api.stateAt(at, known));
        this.problem = null;
      } catch (error) {
        this.problem = session.notice(error);
      }
    }
    this.waiting = false;
  }

  private take(state: PlantState): void {
    const points = session.plant?.points ?? [];
    if (this.table.points !== points) this.table = new PointTable(points, 0);
    this.table.apply(decodeColumns(unpacked(state.columns)), true);
    this.table.judge(state.at, false);
    this.state = state;
    this.tick += 1;
  }
}
