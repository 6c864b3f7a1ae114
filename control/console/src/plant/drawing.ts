// Where marks and pipes of the plant drawing lie; must not know values or components.
import { type Camera, centred as inMiddle, panned as pushed, type Spot, zoomed as nearer } from "./camera";
import { isPartOf } from "./partOf";
import type { MarkInfo, PlantInfo, TwinInfo } from "../wire";

export type Shape = MarkInfo["shape"];

export interface Mark extends MarkInfo {
  twin: TwinInfo;
}

export interface Pipe {
  key: string;
  from: TwinInfo;
  to: TwinInfo;
}

/** The drawing's own space; its shape is about that of the screen area it fills. */
export const WIDTH = 1000;
export const HEIGHT = 680;
const MARGIN_X = 64;
const MARGIN_Y = 44;

// Painted in this order: what matters more lies on top.
const ORDER: Shape[] = ["dot", "flow", "circle", "people", "source", "station", "belt", "machine", "pump", "tank"];

/** Large marks carry a label at every zoom; the others only when near, chosen or pointed at. */
export function isLarge(shape: Shape): boolean {
  return shape !== "dot" && shape !== "flow";
}

/** Filled as far as the value is in its range. */
export function isVessel(shape: Shape): boolean {
  return shape === "tank" || shape === "belt";
}

/** Twins that have a place in the drawing; others (the plant itself, links to devices) are only listed. */
export function marksOf(plant: PlantInfo): Mark[] {
  return plant.twins
    .flatMap((twin) => (twin.mark === null ? [] : [{ twin, ...twin.mark }]))
    .sort((a, b) => ORDER.indexOf(a.shape) - ORDER.indexOf(b.shape));
}

/** What flows or belongs between twins; who is part of whom is not drawn. */
export function pipesOf(plant: PlantInfo): Pipe[] {
  const twinOfId = new Map(plant.twins.map((t) => [t.id, t]));
  const pipes = new Map<string, Pipe>();
  for (const r of plant.relationships) {
    if (isPartOf(r)) continue;
    const from = twinOfId.get(r.source);
    const to = twinOfId.get(r.target);
    if (from && to) pipes.set(`${r.source} ${r.target}`, { key: `${r.source} ${r.target}`, from, to });
  }
  return [...pipes.values()];
}

/** Direction of a metered pipe's positive flow in degrees, clockwise from right; null when the graph does not tell. */
export function flowAngles(plant: PlantInfo): Map<string, number> {
  const twinOfId = new Map(plant.twins.map((t) => [t.id, t]));
  const end = (id: string, name: string): TwinInfo | undefined =>
    twinOfId.get(plant.relationships.find((r) => r.source === id && r.name === name)?.target ?? "");
  const angles = new Map<string, number>();
  for (const twin of plant.twins) {
    const from = end(twin.id, "leaves");
    const to = end(twin.id, "reaches");
    if (!from || !to) continue;
    const a = place(from);
    const b = place(to);
    angles.set(twin.id, (Math.atan2(b.y - a.y, b.x - a.x) * 180) / Math.PI);
  }
  return angles;
}

export function place(twin: TwinInfo): { x: number; y: number } {
  return { x: MARGIN_X + twin.x * (WIDTH - 2 * MARGIN_X), y: MARGIN_Y + twin.y * (HEIGHT - 2 * MARGIN_Y) };
}

const SCALE_MOST = 14;
export const WHOLE: Camera = { scale: 1, x: 0, y: 0 };

/** Never smaller than the whole drawing. */
export function zoomed(camera: Camera, factor: number, at: Spot): Camera {
  return held(nearer(camera, factor, at, [1, SCALE_MOST]));
}

export function panned(camera: Camera, dx: number, dy: number): Camera {
  return held(pushed(camera, dx, dy));
}

export function centred(twin: TwinInfo, scale: number): Camera {
  return held(inMiddle(place(twin), scale, WIDTH, HEIGHT));
}

// The drawing can be pushed aside, never lost.
function held(camera: Camera): Camera {
  const slack = 0.25;
  const bound = (offset: number, size: number): number =>
    Math.min(size * slack, Math.max(size * (1 - slack) - size * camera.scale, offset));
  return camera.scale <= 1.001 ? WHOLE : { scale: camera.scale, x: bound(camera.x, WIDTH), y: bound(camera.y, HEIGHT) };
}
