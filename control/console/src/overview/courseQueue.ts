// Whose course of the last hour is asked for next: of what is looked at, each once at a time, with a pause after a
// failure; must not know the server or components.

export class CourseQueue {
  /** Point -> how many places show it. */
  private readonly watched = new Map<string, number>();
  private readonly due = new Set<string>();
  private readonly asked = new Set<string>();
  private pausedUntil = 0;

  constructor(
    /** The server has others to serve. */
    private readonly atOnce: number,
    private readonly pauseMs: number,
  ) {}

  watch(point: string): void {
    const places = this.watched.get(point) ?? 0;
    this.watched.set(point, places + 1);
    if (places === 0) this.due.add(point);
  }

  leave(point: string): void {
    const places = (this.watched.get(point) ?? 1) - 1;
    if (places > 0) {
      this.watched.set(point, places);
      return;
    }
    this.watched.delete(point);
    this.due.delete(point);
  }

  /** Time has gone on: all that is looked at is due. */
  again(): void {
    for (const point of this.watched.keys()) this.due.add(point);
  }

  /** Those to ask for now; each must be answered or failed before it is asked for again. */
  take(now: number): string[] {
    if (now < this.pausedUntil) return [];
    const taken = [...this.due].filter((point) => !this.asked.has(point)).slice(0, Math.max(0, this.atOnce - this.asked.size));
    for (const point of taken) {
      this.due.delete(point);
      this.asked.add(point);
    }
    return taken;
  }

  answered(point: string): void {
    this.asked.delete(point);
  }

  /** It stays due, after all others; and nothing is asked for until the pause is over. */
  failed(point: string, now: number): void {
    this.asked.delete(point);
    if (this.watched.has(point)) this.due.add(point);
    this.pausedUntil = now + this.pauseMs;
  }
}
