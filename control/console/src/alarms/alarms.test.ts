import { describe, expect, it } from "vitest";
import { added, AlarmBook, byUrgency, countsOf, mostUrgent, predictedOf, RECENT_MOST, total } from "./alarms";
import { countUp, rollUp } from "./alarmTree";
import { alarm, change, list } from "./alarmSpecimen";
import { subtree, wholes } from "../plant/partOf";
import type { PlantInfo } from "../wire";

describe("the book of alarms", () => {
  it("goes on from its list, and passes over what the list knows", () => {
    const book = new AlarmBook();
    book.begin(list(5, alarm("a", { occurrence: 2 })));
    expect(book.take([change(4, alarm("a", { occurrence: 1 })), change(6, alarm("b"))])).toBe(true);
    expect(book.rows.get("a")?.occurrence).toBe(2);
    expect([...book.rows.keys()]).toEqual(["a", "b"]);
    expect(book.n).toBe(6);
  });

  it("lets an alarm go that is normal again, and keeps one that is silent", () => {
    const book = new AlarmBook();
    book.begin(list(0));
    book.take([change(1, alarm("a")), change(2, alarm("a", { active: false, acked: true })), change(3, alarm("b", { active: false, acked: true, told: false }))]);
    expect([...book.rows.keys()]).toEqual(["b"]);
  });

  it("tells that steps are missing, and knows the flood's own steps from those", () => {
    const book = new AlarmBook();
    book.begin(list(0));
    expect(book.take([change(1, alarm("a")), change(3, alarm("b"))])).toBe(false);
    book.begin(list(3, alarm("a"), alarm("b")));
    book.flood(5);
    expect(book.take([change(4, alarm("c")), change(6, alarm("d"))])).toBe(true);
    expect(book.take([change(8, alarm("e"))])).toBe(false);
  });

  it("takes an event that is told again only once", () => {
    const book = new AlarmBook();
    book.begin(list(0));
    const came = [change(1, alarm("a")), change(2, alarm("b"))];
    expect(book.take(came) && book.take(came)).toBe(true);
    expect(book.recent.map((s) => s.n)).toEqual([1, 2]);
  });

  it("takes what came while the list was on its way after it", () => {
    const book = new AlarmBook();
    book.hold();
    book.take([change(11, alarm("a", { active: false, acked: true })), change(12, alarm("b"))]);
    expect(book.begin(list(11))).toBe(true);
    expect([...book.rows.keys()]).toEqual(["b"]);
    expect(book.n).toBe(12);
  });

  it("begins anew with another life of the server, whose numbers may be smaller", () => {
    const book = new AlarmBook();
    book.begin(list(900, alarm("a")));
    book.hold();
    book.take([change(8, alarm("b"))]);
    expect(book.begin(list(7))).toBe(true);
    expect([...book.rows.keys()]).toEqual(["b"]);
  });

  it("keeps as many steps as it must", () => {
    const book = new AlarmBook();
    book.begin(list(0));
    for (let n = 1; n <= RECENT_MOST + 10; n++) book.take([change(n, alarm("a"))]);
    expect(book.recent.length).toBe(RECENT_MOST);
    expect(book.recent.at(-1)?.n).toBe(RECENT_MOST + 10);
  });
});

describe("what matters most", () => {
  const acked = alarm("acked", { priority: "high", acked: true });
  const low = alarm("low", { priority: "low", active_at: 2 });
  const lower = alarm("lower", { priority: "low", active_at: 1 });
  const over = alarm("over", { priority: "high", active: false });
  const journal = alarm("journal", { priority: "journal" });
  const silent = alarm("silent", { priority: "high", told: false });

  it("is active and unacknowledged, then either, then by priority, then the newest", () => {
    expect([over, acked, lower, low].sort(byUrgency).map((a) => a.id)).toEqual(["low", "lower", "acked", "over"]);
    expect(mostUrgent([acked, over, lower, low, silent])?.id).toBe("low");
    expect(mostUrgent([acked, silent, journal])).toBeNull();
  });

  it("is counted without what nobody is told of", () => {
    const counts = countsOf([acked, low, lower, over, journal, silent]);
    expect(counts.active).toEqual({ high: 1, medium: 0, low: 2 });
    expect(counts.unacknowledged).toEqual({ high: 1, medium: 0, low: 2 });
    expect([counts.silent, counts.open]).toEqual([1, 4]);
  });

  it("goes up the parts of the plant", () => {
    const relationship = (source: string, name: string, target: string) => ({ source, name, target });
    const plant = { relationships: [relationship("site", "contains", "hall"), relationship("hall", "hasPart", "pump"), relationship("pump", "feeds", "tank")] } as PlantInfo;
    const wholeOf = wholes(plant);
    expect([...subtree("site", wholeOf)]).toEqual(["site", "hall", "pump"]);
    const up = rollUp([alarm("x", { twin: "pump", priority: "high", acked: true }), alarm("y", { twin: "hall", priority: "low" })], wholeOf);
    expect([up.get("pump")?.priority, up.get("pump")?.unacknowledged]).toEqual(["high", false]);
    expect([up.get("site")?.count, up.get("site")?.priority, up.get("site")?.first.id]).toEqual([2, "high", "y"]);
    expect(up.has("tank")).toBe(false);
    const counts = countUp([alarm("x", { twin: "pump", active: false, latched: true, acked: true }), alarm("z", { twin: "hall", told: false }), journal], wholeOf);
    expect(counts.get("pump")).toEqual(countsOf([alarm("x", { active: false, latched: true, acked: true })]));
    expect(["site", "hall"].map((t) => [total(counts.get(t)!.active), counts.get(t)!.silent])).toEqual([[1, 1], [1, 1]]);
    expect(added(counts.get("site")!, counts.get("pump")!)).toMatchObject({ silent: 1, open: 2 });
  });
});

describe("an alarm of what is predicted", () => {
  it("is known by its condition, and one of what is has none", () => {
    expect(predictedOf(alarm("t", { condition: "predicted t.level<1" }))).toBe("t.level<1");
    expect(predictedOf(alarm("t"))).toBe("");
  });
});
