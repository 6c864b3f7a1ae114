import { describe, expect, it } from "vitest";
import { alarm, change } from "./alarmSpecimen";
import { AlarmBook } from "./alarms";
import { type Filter, joined, past, silencers, sorted, standing, steady, stateWords } from "./alarmRows";
import { alarmHindrance, asked, shelfMost, verbHindrance } from "./alarmVerbs";
import type { Who } from "../wire";

const ALL: Filter = { show: "open", priority: "", twins: null, since: 0, text: "", by: "" };
const who = (role: string, ...may: string[]): Who => ({ name: "anna", role, account: "anna", may, approves: [] }) as unknown as Who;

describe("rows of the table", () => {
  const alarms = [
    alarm("tank_1", { priority: "high", active_at: 10 }),
    alarm("tank_2", { priority: "low", active_at: 30, acked: true, acked_by: "Anna", comment: "pump ordered" }),
    alarm("tank_3", { told: false, until: 99, state: "shelved" }),
    alarm("tank_4", { priority: "journal" }),
  ];
  const ids = (filter: Partial<Filter>): string[] => sorted(standing(alarms, { ...ALL, ...filter }), "").map((r) => r.id);

  it("are those that are asked for, the most urgent first", () => {
    expect(ids({})).toEqual(["tank_1", "tank_2"]);
    expect(ids({ show: "unacknowledged" })).toEqual(["tank_1"]);
    expect(ids({ show: "shelved" })).toEqual(["tank_3"]);
    expect(ids({ show: "standing" })).toHaveLength(4);
    expect(ids({ priority: "low" })).toEqual(["tank_2"]);
    expect(ids({ twins: new Set(["tank_1"]) })).toEqual(["tank_1"]);
    expect(ids({ since: 20 })).toEqual(["tank_2"]);
    expect(ids({ by: "anna" })).toEqual(["tank_2"]);
    expect(ids({ text: "ORDERED" })).toEqual(["tank_2"]);
  });

  it("stay where they are under a hand that points at them", () => {
    const stood = new Map([["tank_2", 0]]);
    expect(steady(sorted(standing(alarms, ALL), ""), stood).map((r) => r.id)).toEqual(["tank_2", "tank_1"]);
  });

  it("say of silent ones who made them so, and why", () => {
    const shelving = [change(7, alarms[2]!, { step: "shelved", by: "sven", reason: "meter" }), change(6, alarms[2]!, { step: "suppressed", by: "old" })];
    const book = new AlarmBook();
    book.take(shelving.reverse());
    const rows = standing(alarms, { ...ALL, show: "shelved" }, silencers(book.recent, new Map()));
    expect(rows.map((r) => [r.id, r.by, r.reason, r.time])).toEqual([["tank_3", "sven", "meter", 7]]);
    expect(standing(alarms, ALL, silencers(book.recent, new Map()))[1]!.by).toBe("Anna");
  });

  it("are sorted by a column either way", () => {
    const by = (sort: string): string[] => sorted(standing(alarms, ALL), sort).map((r) => r.id);
    expect(by("priority")).toEqual(["tank_1", "tank_2"]);
    expect(by("-priority")).toEqual(["tank_2", "tank_1"]);
    expect(by("since")).toEqual(["tank_2", "tank_1"]);
    expect(by("no such column")).toEqual(["tank_1", "tank_2"]);
  });

  it("hold history and what was heard since, each step once", () => {
    const book = new AlarmBook();
    book.take([1, 2, 3].map((n) => change(n, alarms[0]!)));
    const steps = joined([book.recent[1]!, book.recent[0]!], book.recent);
    expect(steps.map((s) => s.n)).toEqual([3, 2, 1]);
    const rows = past(steps, book.rows, { ...ALL, show: "history" });
    expect(sorted(rows, "").map((r) => r.key)).toEqual(["#3", "#2", "#1"]);
    expect([rows[0]!.condition, stateWords(rows[0]!)]).toEqual(["hi 9", "came"]);
  });
});

describe("what may be done", () => {
  it("says why not: by role, by choice, by state", () => {
    const viewer = who("viewer", "see");
    const operator = who("operator", "see", "acknowledge");
    expect(alarmHindrance(viewer, "acknowledge")).toBe("The role viewer may not acknowledge, shelve or comment on alarms.");
    expect(alarmHindrance(operator, "suppress")).toContain("may not suppress alarms");
    expect(verbHindrance(operator, "acknowledge", [])).toBe("Choose alarms first.");
    expect(verbHindrance(operator, "acknowledge", [alarm("a", { acked: true })])).toContain("None of the chosen");
    expect(verbHindrance(operator, "acknowledge", [alarm("a", { acked: true }), alarm("b")])).toBe("");
    expect(alarmHindrance(null, "reset")).not.toBe("");
    expect(verbHindrance(operator, "shelve", [alarm("a")], " ")).toContain("Say why first");
  });

  it("acknowledges what was seen, and nothing that came since", () => {
    expect(asked("acknowledge", [alarm("a", { occurrence: 3 }), alarm("b")], "seen")).toEqual({ alarms: ["a", "b"], reason: "seen", occurrences: { a: 3, b: 1 } });
    expect(asked("reset", [alarm("a")], "")).toEqual({ alarms: ["a"], reason: "" });
  });

  it("shelves as long as role and alarm allow", () => {
    expect(shelfMost(who("operator", "acknowledge"), 28_800, 86_400)).toBe(28_800);
    expect(shelfMost(who("supervisor", "acknowledge", "suppress"), 28_800, 86_400)).toBe(86_400);
    expect(shelfMost(who("operator", "acknowledge"), 28_800, 3600)).toBe(3600);
  });
});
