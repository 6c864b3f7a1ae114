import { expect, test } from "vitest";
import { Look } from "../live/freshness";
import { oddNow } from "./odd";
import type { PointInfo } from "../wire";

const points = ["pump_1", "pump_2"].map((twin, id) => ({ id, twin, property: "watch_why" })) as PointInfo[];
const said = (look: number[], words: string[]): { look: Uint8Array; text: Map<number, string> } => ({
  look: Uint8Array.from(look), text: new Map(words.entries()),
});
const serving = { id: "watch", state: "serving", why: "" };

test("what makes a twin odd is told while the answer is good", () => {
  const found = oddNow(serving, points, said([Look.good, Look.good], ["pressure", ""]));
  expect(found).toEqual({ twins: [{ twin: "pump_1", words: "pressure" }], rest: "" });
  expect(oddNow(serving, points, said([Look.good, Look.good], ["", ""])).rest).toBe("No twin is odd now.");
});

test("words of an answer that is no longer good are not told as of now", () => {
  const found = oddNow(serving, points, said([Look.uncertain, Look.good], ["pressure", ""]));
  expect(found).toEqual({ twins: [], rest: "Not known of 1 twin: no good answer." });
});

test("a row that does not serve says that nothing is known, never that no twin is odd", () => {
  const late = { id: "watch", state: "late", why: "a sample takes more than 5 s" };
  expect(oddNow(late, points, said([Look.uncertain, Look.uncertain], ["pressure", "flow"]))).toEqual({
    twins: [], rest: "Not known: the model is late, a sample takes more than 5 s.",
  });
  expect(oddNow({ id: "watch", state: "filling", why: "" }, points, said([Look.bad, Look.none], [])).rest).toBe("Not known: the model is filling.");
});
