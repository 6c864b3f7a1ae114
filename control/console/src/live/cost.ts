// What values cost this page: from the bytes of a delta until the table holds them; must not know sockets or views.

/** Of the newest frames; a log of all would grow for as long as the page is open. */
const RECENT = 1_024;

export class Cost {
  frames = 0;
  ms = 0;
  mostMs = 0;
  bytes = 0;
  readonly recentMs = new Float32Array(RECENT);

  add(ms: number, bytes: number): void {
    this.recentMs[this.frames % RECENT] = ms;
    this.frames += 1;
    this.ms += ms;
    this.mostMs = Math.max(this.mostMs, ms);
    this.bytes += bytes;
  }
}

export const cost = new Cost();
