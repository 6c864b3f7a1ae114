// Pan, zoom and moves by arrow of what is drawn larger than its place; must not know what is drawn.

/** Screen = place * scale + offset. */
export interface Camera {
  scale: number;
  x: number;
  y: number;
}

export interface Spot {
  x: number;
  y: number;
}

/** Zooms so that what is under a spot of the screen stays there. */
export function zoomed(camera: Camera, factor: number, at: Spot, [least, most]: readonly [number, number]): Camera {
  const scale = Math.min(most, Math.max(least, camera.scale * factor));
  const ratio = scale / camera.scale;
  return { scale, x: at.x - (at.x - camera.x) * ratio, y: at.y - (at.y - camera.y) * ratio };
}

export function panned(camera: Camera, dx: number, dy: number): Camera {
  return { ...camera, x: camera.x + dx, y: camera.y + dy };
}

/** Puts a place in the middle of a screen. */
export function centred(at: Spot, scale: number, width: number, height: number): Camera {
  return { scale, x: width / 2 - at.x * scale, y: height / 2 - at.y * scale };
}

/** What a turn of the wheel means. */
export const wheelFactor = (event: WheelEvent): number => Math.exp(-event.deltaY * 0.0015);
/** What a press of + means; that of − is its inverse. */
export const STEP = 1.4;
/** How far Shift and an arrow move what is drawn. */
export const PAN = 60;

export const ARROWS: Readonly<Record<string, readonly [number, number]>> = {
  ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1],
};

/** The nearest in a direction: what an arrow key moves to. Sideways distance counts double. */
export function nearest<T>(among: readonly T[], placeOf: (one: T) => Spot, from: Spot, [dx, dy]: readonly [number, number]): T | undefined {
  let best: T | undefined;
  let least = Infinity;
  for (const one of among) {
    const p = placeOf(one);
    const along = (p.x - from.x) * dx + (p.y - from.y) * dy;
    const across = Math.abs((p.x - from.x) * dy) + Math.abs((p.y - from.y) * dx);
    const cost = along + 2 * across;
    if (along > 1e-3 && cost < least) [best, least] = [one, cost];
  }
  return best;
}

/** A hand on a mouse trembles: the first few units are a click. */
const CLICK = 4;

/** From pressing to letting go. */
export class Drag {
  private at: Spot | null = null;
  private moving = false;

  start(at: Spot): void {
    [this.at, this.moving] = [at, false];
  }

  /** By how much it went on; null while it is none, or may yet be a click. */
  move(to: Spot): { dx: number; dy: number; begun: boolean } | null {
    if (this.at === null) return null;
    const [dx, dy] = [to.x - this.at.x, to.y - this.at.y];
    if (!this.moving && Math.hypot(dx, dy) < CLICK) return null;
    const begun = !this.moving;
    [this.at, this.moving] = [to, true];
    return { dx, dy, begun };
  }

  /** Whether it was a click. */
  end(): boolean {
    const clicked = this.at !== null && !this.moving;
    [this.at, this.moving] = [null, false];
    return clicked;
  }
}
