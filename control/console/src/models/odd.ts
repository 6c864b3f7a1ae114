// Which twins a detector finds odd now, as far as its answers may be believed; must not know components.
import { Look } from "../live/freshness";
import type { PointTable } from "../live/points";
import type { LearnedRecord, PointInfo } from "../wire";

export interface OddNow {
  twins: { twin: string; words: string }[];
  /** What is to be said of those that are not listed. */
  rest: string;
}

/** What makes twins odd, by the points that say why. Words whose quality is no longer good are of an earlier time. */
export function oddNow(row: Pick<LearnedRecord, "id" | "state" | "why">, points: readonly PointInfo[], table: Pick<PointTable, "look" | "text">): OddNow {
  const told = points.filter((p) => p.property === `${row.id}_why`);
  const known = told.filter((p) => table.look[p.id] === Look.good);
  const twins = known.flatMap((p) => {
    const words = table.text.get(p.id) ?? "";
    return words === "" ? [] : [{ twin: p.twin, words }];
  });
  return { twins, rest: restWords(row, told.length - known.length, twins.length) };
}

function restWords(row: Pick<LearnedRecord, "state" | "why">, unknown: number, odd: number): string {
  if (row.state !== "serving") return `Not known: the model is ${row.state}${row.why ? `, ${row.why}` : ""}.`;
  if (unknown > 0) return `Not known of ${unknown} ${unknown === 1 ? "twin" : "twins"}: no good answer.`;
  return odd === 0 ? "No twin is odd now." : "";
}
