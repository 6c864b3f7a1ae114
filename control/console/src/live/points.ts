// The console's point table: typed arrays indexed by the point's dense id; must not know sockets or components.
import type { Batch } from "./columns";
import { Look, lookOf } from "./freshness";
import type { PointInfo } from "../wire";

/** Samples kept per point for sparks: two minutes at two changes a second. */
const SPARK_LENGTH = 240;

/** Points that may be waited for: as many as a plant may have that is shown at all. */
const EARLY_MOST = 50_000;

interface Row {
  value: number;
  quality: number;
  source: number;
  received: number;
  text?: string;
}

export class PointTable {
  readonly value: Float64Array;
  readonly quality: Uint32Array;
  readonly source: Float64Array;
  readonly received: Float64Array;
  readonly look: Uint8Array;
  readonly text = new Map<number, string>();
  /** Frame number of each point's latest change: a view asks "newer than the one I drew?". */
  readonly frame: Uint32Array;
  frames = 0;
  /** Values of points that came with an edit of the plant, before the plant itself was fetched anew. */
  private readonly early = new Map<number, Row>();
  private readonly idOfName = new Map<string, number>();
  private readonly ids: Uint32Array;
  /** By id, 1 for points that a device reports: those grow old. */
  private readonly ages: Uint8Array;
  private readonly size: number;
  /** All points' first samples, then all second ones …: points that change together are written side by side. */
  private readonly sparkTime: Float64Array;
  private readonly sparkValue: Float64Array;
  private readonly sparkCount: Uint32Array;

  /** `sparkLength` 0: nothing of the past is kept, as where every table is a moment of its own. */
  constructor(readonly points: readonly PointInfo[], private readonly sparkLength = SPARK_LENGTH) {
    const size = 1 + points.reduce((most, p) => Math.max(most, p.id), -1);
    this.size = size;
    this.value = new Float64Array(size).fill(NaN);
    this.quality = new Uint32Array(size);
    this.source = new Float64Array(size);
    this.received = new Float64Array(size);
    this.look = new Uint8Array(size).fill(Look.none);
    this.frame = new Uint32Array(size);
    this.sparkTime = new Float64Array(size * sparkLength);
    this.sparkValue = new Float64Array(size * sparkLength);
    this.sparkCount = new Uint32Array(size);
    this.ids = Uint32Array.from(points, (p) => p.id);
    this.ages = new Uint8Array(size);
    for (const p of points) {
      this.idOfName.set(p.name, p.id);
      this.ages[p.id] = p.device === "" ? 0 : 1;
    }
  }

  /** The values held by an older table, where both have the point: ids stay as long as the server lives. */
  takeOver(older: PointTable): void {
    for (const p of this.points) {
      const id = p.id;
      if (older.idOfName.get(p.name) !== id) continue;
      this.value[id] = older.value[id]!;
      this.quality[id] = older.quality[id]!;
      this.source[id] = older.source[id]!;
      this.received[id] = older.received[id]!;
      this.frame[id] = older.frame[id]!;
      const text = older.text.get(id);
      if (text !== undefined) this.text.set(id, text);
      for (let slot = 0; slot < SPARK_LENGTH; slot++) {
        this.sparkTime[slot * this.size + id] = older.sparkTime[slot * older.size + id]!;
        this.sparkValue[slot * this.size + id] = older.sparkValue[slot * older.size + id]!;
      }
      this.sparkCount[id] = older.sparkCount[id]!;
    }
    this.frames = older.frames;
    for (const [id, row] of older.early) {
      if (id < this.value.length) this.put(id, row);
    }
  }

  id(name: string): number | undefined {
    return this.idOfName.get(name);
  }

  /** A snapshot replaces everything held; a delta only what it names. Points we do not know wait for a table that does. */
  apply(batch: Batch, replace: boolean): void {
    if (replace) this.forget();
    this.frames += 1;
    const size = this.size;
    for (let i = 0; i < batch.length; i++) {
      const id = batch.point[i]!;
      if (id < size) {
        this.value[id] = batch.value[i]!;
        this.quality[id] = batch.quality[i]!;
        this.source[id] = batch.source[i]!;
        this.received[id] = batch.received[i]!;
        this.frame[id] = this.frames;
        this.remember(id);
      } else if (this.early.size < EARLY_MOST) {
        const [value, quality] = [batch.value[i]!, batch.quality[i]!];
        this.early.set(id, { value, quality, source: batch.source[i]!, received: batch.received[i]! });
      }
    }
    for (const key in batch.text) {
      const text = batch.text[key]!;
      const id = this.idOfName.get(key) ?? Number(key);
      const early = this.early.get(id);
      if (id < this.value.length) this.text.set(id, text);
      else if (early !== undefined) early.text = text;
    }
  }

  private put(id: number, row: Row): void {
    this.value[id] = row.value;
    this.quality[id] = row.quality;
    this.source[id] = row.source;
    this.received[id] = row.received;
    this.frame[id] = this.frames;
    if (row.text !== undefined) this.text.set(id, row.text);
    this.remember(id);
  }

  /**
   * When a value was last heard of. One kept from before the server's restart has not been received in this life of
   * it: its source time tells its age.
   */
  heard(id: number): number {
    const received = this.received[id]!;
    return Number.isNaN(received) ? this.source[id]! : received;
  }

  /**
   * Looks depend on age too, so this runs on every drawn frame and once a second between. Not so in the past (`ages`
   * false): history has a value when it changes, and its fall of quality when nobody confirmed it any more.
   */
  judge(now: number, ages = true): void {
    for (const id of this.ids) {
      this.look[id] = lookOf(this.quality[id]!, this.heard(id), now, ages && this.ages[id] === 1);
    }
  }

  /** How many points have each look, in the order of `LOOK_NAMES`. */
  tally(): number[] {
    const counts = [0, 0, 0, 0, 0];
    for (const id of this.ids) counts[this.look[id]!]! += 1;
    return counts;
  }

  /** The latest samples of one point, oldest first; a NaN value is a gap. */
  spark(id: number): { time: Float64Array; value: Float64Array } {
    const count = this.sparkCount[id] ?? 0;
    const kept = Math.min(count, SPARK_LENGTH);
    const time = new Float64Array(kept);
    const value = new Float64Array(kept);
    for (let i = 0; i < kept; i++) {
      const at = ((count - kept + i) % SPARK_LENGTH) * this.size + id;
      time[i] = this.sparkTime[at]!;
      value[i] = this.sparkValue[at]!;
    }
    return { time, value };
  }

  private remember(id: number): void {
    if (this.sparkLength === 0) return;
    const count = this.sparkCount[id]!;
    const at = (count % SPARK_LENGTH) * this.size + id;
    this.sparkTime[at] = this.heard(id);
    this.sparkValue[at] = this.quality[id]! >>> 30 === 0 ? this.value[id]! : NaN;
    this.sparkCount[id] = count + 1;
  }

  private forget(): void {
    this.value.fill(NaN);
    this.quality.fill(0);
    this.source.fill(0);
    this.received.fill(0);
    this.text.clear();
    this.early.clear();
  }
}
