// The graph as it can be seen: which boxes are open, which lines show, what is near what; must not know components or values.
import { isPartOf } from "./partOf";
import type { GraphPicture, PlantInfo } from "../wire";

/** More than a screen can show, or a browser draw calmly. */
export const VISIBLE_MOST = 1_500;
/** A box at least so wide on the screen, in pixels, opens by itself: nearer means more of it. */
const OPENS_AT = 520;

export interface Node {
  id: string;
  row: number;
  parent: number;
  parts: number[];
  /** How many twins are in it, at any depth. */
  count: number;
  x: number;
  y: number;
  w: number;
  h: number;
}

export interface Line {
  from: number;
  to: number;
  /** Relationships that it stands for. */
  count: number;
  names: string;
}

/** Opened or closed by hand, by twin; what nobody touched opens by its size on the screen. */
export type ByHand = ReadonlyMap<string, boolean>;

export function nodesOf(picture: GraphPicture): Node[] {
  const nodes = picture.twins.map((id, row): Node => ({
    id, row, parent: picture.parent[row]!, parts: [], count: 0,
    x: picture.x[row]!, y: picture.y[row]!, w: picture.w[row]!, h: picture.h[row]!,
  }));
  for (const node of nodes) nodes[node.parent]?.parts.push(node.row);
  for (const node of nodes) {
    for (let up = nodes[node.parent]; up; up = nodes[up.parent]) up.count += 1;
  }
  return nodes;
}

export interface Seen {
  /** In the order of drawing: what contains others before these. */
  rows: number[];
  open: Set<number>;
  /** Of every twin the row that stands for it: its own, or the closed box that it is in. */
  stands: Int32Array;
}

/** `scale`: pixels a unit. The largest boxes open first, as long as no more than VISIBLE_MOST are seen. */
export function seen(nodes: readonly Node[], byHand: ByHand, scale: number): Seen {
  const tops = nodes.filter((n) => n.parent === -1);
  const open = new Set<number>();
  const rows = tops.map((n) => n.row);
  // A box that is alone at the top is the plant itself: closed, it would say nothing.
  const holding = tops.filter((n) => n.parts.length > 0);
  const wanted = (n: Node): boolean => byHand.get(n.id) ?? (n.w * scale >= OPENS_AT || (holding.length === 1 && n === holding[0]));
  const front = tops.filter((n) => n.parts.length > 0);
  while (front.length > 0) {
    front.sort((a, b) => b.w * b.h - a.w * a.h);
    const box = front.shift()!;
    if (!wanted(box) || (rows.length + box.parts.length > VISIBLE_MOST && byHand.get(box.id) !== true)) continue;
    open.add(box.row);
    rows.push(...box.parts);
    front.push(...box.parts.map((row) => nodes[row]!).filter((n) => n.parts.length > 0));
  }
  const stands = new Int32Array(nodes.length).fill(-1);
  for (const row of rows) if (!open.has(row)) standFor(nodes, row, row, stands);
  for (const row of open) stands[row] = row;
  return { rows, open, stands };
}

function standFor(nodes: readonly Node[], row: number, shown: number, stands: Int32Array): void {
  stands[row] = shown;
  for (const part of nodes[row]!.parts) standFor(nodes, part, shown, stands);
}

/** What flows or belongs between what is seen; being a part is shown by the boxes. */
export function linesOf(plant: PlantInfo, rowOf: ReadonlyMap<string, number>, stands: Int32Array): Line[] {
  const lines = new Map<string, Line & { said: Set<string> }>();
  for (const r of plant.relationships) {
    if (isPartOf(r)) continue;
    const [from, to] = [stands[rowOf.get(r.source) ?? -1] ?? -1, stands[rowOf.get(r.target) ?? -1] ?? -1];
    if (from < 0 || to < 0 || from === to) continue;
    const key = `${from} ${to}`;
    const line = lines.get(key) ?? { from, to, count: 0, names: "", said: new Set<string>() };
    line.count += 1;
    line.said.add(r.name);
    lines.set(key, line);
  }
  return [...lines.values()].map(({ said, ...line }) => ({ ...line, names: [...said].join(", ") }));
}

export type Way = "both" | "down" | "up";

export interface Ways {
  down: Map<string, string[]>;
  up: Map<string, string[]>;
}

export function waysOf(plant: PlantInfo): Ways {
  const ways: Ways = { down: new Map(), up: new Map() };
  const add = (of: Map<string, string[]>, from: string, to: string): void => void of.set(from, [...(of.get(from) ?? []), to]);
  for (const r of plant.relationships) {
    if (isPartOf(r)) continue;
    add(ways.down, r.source, r.target);
    add(ways.up, r.target, r.source);
  }
  return ways;
}

const nextOf = (ways: Ways, way: Way, id: string): string[] => [
  ...(way === "up" ? [] : (ways.down.get(id) ?? [])), ...(way === "down" ? [] : (ways.up.get(id) ?? [])),
];

/** Twins within so many hops, with the one itself. */
export function near(ways: Ways, id: string, hops: number, way: Way): Set<string> {
  const found = new Set([id]);
  let front = [id];
  for (let hop = 0; hop < hops && front.length > 0; hop++) {
    front = front.flatMap((at) => nextOf(ways, way, at)).filter((next) => !found.has(next) && found.add(next));
  }
  return found;
}

/** The shortest way from one twin to another, along the flow if there is one, else against it; empty when there is none. */
export function pathOf(ways: Ways, from: string, to: string): string[] {
  for (const way of ["down", "up", "both"] as const) {
    const before = new Map<string, string | null>([[from, null]]);
    let front = [from];
    while (front.length > 0 && !before.has(to)) {
      front = front.flatMap((at) => nextOf(ways, way, at).filter((next) => !before.has(next) && before.set(next, at)));
    }
    if (!before.has(to)) continue;
    const path: string[] = [];
    for (let at: string | null = to; at !== null; at = before.get(at) ?? null) path.unshift(at);
    return path;
  }
  return [];
}

/** Boxes that must be open for a twin to be seen. */
export function around(nodes: readonly Node[], row: number): string[] {
  const found: string[] = [];
  for (let up = nodes[nodes[row]?.parent ?? -1]; up; up = nodes[up.parent]) found.push(up.id);
  return found;
}
