// What the signs in the drawing mean for this plant, and what is written beside them; must not know components.
import { type Mark, type Shape, isVessel } from "./drawing";
import type { PointInfo } from "../wire";
import { title } from "../words";

export interface LegendRow {
  shape: Shape;
  on: boolean;
  words: string;
}

/** One row for each kind and state of what is drawn, in the order of the marks. */
export function legendOf(marks: readonly Mark[], pointOfId: ReadonlyMap<number, PointInfo>): LegendRow[] {
  const rows = new Map<string, LegendRow>();
  for (const mark of marks.toReversed()) {
    const point = pointOfId.get(mark.point ?? -1);
    for (const { on, words } of meanings(mark, point)) {
      rows.set(`${mark.shape} ${on} ${words}`, { shape: mark.shape, on, words: words === "" ? mark.twin.kind_name : `${mark.twin.kind_name}: ${words}` });
    }
  }
  return [...rows.values()];
}

function meanings(mark: Mark, point: PointInfo | undefined): { on: boolean; words: string }[] {
  if (point === undefined) return [{ on: false, words: "" }];
  const called = titleOf(point).toLowerCase();
  const filled = point.names.filter((n) => mark.on.includes(n.value)).map((n) => n.name);
  if (isVessel(mark.shape) || filled.length === 0) return [{ on: false, words: called }];
  const rest = point.names.filter((n) => !mark.on.includes(n.value)).map((n) => n.name);
  const yes = filled.join(" or ");
  // "yes" alone tells nothing; "crate at its end" does.
  if (yes === "yes") return [{ on: true, words: called }, { on: false, words: `not ${called}` }];
  return [{ on: true, words: yes }, { on: false, words: rest.length === 1 ? rest[0]! : `not ${yes}` }];
}

/** What people call a point of a twin. */
export const titleOf = (point: PointInfo): string => point.title || title(point.property.slice(point.property.lastIndexOf(".") + 1));

/** Letters that a label may hold in a line; what is longer is cut. */
export const LETTERS_MOST = 22;

export function clipped(text: string): string {
  return text.length <= LETTERS_MOST ? text : `${text.slice(0, LETTERS_MOST - 1)}…`;
}

/** Digits, sign and point of a number as `quantity` writes it. */
const NUMBER_LETTERS = 6;

/** Letters of the longest line that a mark's label may ever have, so that labels keep their side as values change. */
export function lettersOf(mark: Mark, point: PointInfo | undefined): number {
  if (point === undefined) return clipped(mark.twin.name).length;
  const names = point.names.map((n) => n.name.length);
  const said = point.type === "string" ? LETTERS_MOST : names.length > 0 ? Math.max(...names) : NUMBER_LETTERS + point.unit.length;
  return Math.min(LETTERS_MOST, Math.max(mark.twin.name.length, said));
}
