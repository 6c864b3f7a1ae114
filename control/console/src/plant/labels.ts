// Where large marks and their labels go so that none covers another; all in screen pixels; must not know values.
export type Side = "right" | "left" | "below" | "above";

export interface Spot {
  id: string;
  x: number;
  y: number;
  /** Letters of its longest line. */
  letters: number;
  lines: number;
}

/** Half the size of a large mark, with some air. */
const REACH = 19;
const APART = 42;
/** Of the widest font that a browser may take, and bold. */
const LETTER = 7.7;
const LINE = 15;
const SIDES: Side[] = ["right", "left", "below", "above"];

/** Between labels: without it two of them read as one. */
const AIR = 8;

type Box = [left: number, top: number, right: number, bottom: number];

/** Pushes large marks that lie on one another apart, each as little as possible. Few marks, so every pair is tried. */
export function spread(spots: readonly Spot[]): Spot[] {
  const moved = spots.map((s) => ({ ...s }));
  for (let round = 0; round < 24; round++) {
    for (const a of moved) {
      for (const b of moved) {
        if (a.id >= b.id) continue;
        const dx = b.x - a.x || 0.01;
        const dy = b.y - a.y;
        const distance = Math.hypot(dx, dy);
        if (distance >= APART) continue;
        const push = (APART - distance) / 2 / Math.max(distance, 0.01);
        a.x -= dx * push;
        a.y -= dy * push;
        b.x += dx * push;
        b.y += dy * push;
      }
    }
  }
  return moved;
}

/**
 * The side of each mark on which its label covers least; earlier spots choose first. One that would lie on another
 * label in every place has none: it is told when the mark is pointed at.
 */
export function sides(spots: readonly Spot[], dots: readonly { x: number; y: number }[], width: number, height: number): Map<string, Side> {
  const taken: Box[] = spots.map((s) => [s.x - REACH, s.y - REACH, s.x + REACH, s.y + REACH]);
  const chosen = new Map<string, Side>();
  const marks = taken.length;
  spots.forEach((spot, own) => {
    let best: { side: Side; box: Box; cost: number } | null = null;
    SIDES.forEach((side, preference) => {
      const box = labelBox(spot, side);
      let cost = preference * 3;
      taken.forEach((other, i) => (cost += i === own ? 0 : 3 * overlap(box, other)));
      // A dot under a label is a pity; a label off the screen or on another label is a fault.
      for (const d of dots) if (d.x > box[0] && d.x < box[2] && d.y > box[1] && d.y < box[3]) cost += 25;
      const inside = overlap(box, [0, 0, width, height]);
      cost += 4 * ((box[2] - box[0]) * (box[3] - box[1]) - inside);
      if (best === null || cost < best.cost) best = { side, box, cost };
    });
    if (best === null) return;
    const { side, box } = best as { side: Side; box: Box };
    if (taken.slice(marks).some((other) => overlap(box, other) > 0)) return;
    taken.push([box[0] - AIR, box[1], box[2] + AIR, box[3]]);
    chosen.set(spot.id, side);
  });
  return chosen;
}

function labelBox(spot: Spot, side: Side): Box {
  const w = spot.letters * LETTER;
  const h = spot.lines * LINE;
  switch (side) {
    case "right":
      return [spot.x + REACH, spot.y - h / 2, spot.x + REACH + w, spot.y + h / 2];
    case "left":
      return [spot.x - REACH - w, spot.y - h / 2, spot.x - REACH, spot.y + h / 2];
    case "below":
      return [spot.x - w / 2, spot.y + REACH, spot.x + w / 2, spot.y + REACH + h];
    case "above":
      return [spot.x - w / 2, spot.y - REACH - h, spot.x + w / 2, spot.y - REACH];
  }
}

function overlap(a: Box, b: Box): number {
  const w = Math.min(a[2], b[2]) - Math.max(a[0], b[0]);
  const h = Math.min(a[3], b[3]) - Math.max(a[1], b[1]);
  return w > 0 && h > 0 ? w * h : 0;
}
