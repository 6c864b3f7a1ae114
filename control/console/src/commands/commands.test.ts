import { expect, test } from "vitest";
import { cancellable, later, meaning, merged, needsPerson, standing } from "./commands";
import type { CommandRecord, CommandTransition } from "../wire";

function step(status: string, time: number, more: Partial<CommandTransition> = {}): CommandTransition {
  return { status, time, detail: "", by: "", seen: [], ...more };
}

function command(id: string, ...transitions: CommandTransition[]): CommandRecord {
  const status = transitions.at(-1)!.status;
  return {
    id, key: id, point: "pump.speed", value: 1, priority: "operator", deadline: 0, reason: "", author: "anna", status,
    final: ["CONFIRMED", "REFUSED", "CANCELLED"].includes(status), observed: null, approvals: 0, approver: "", approved_by: [],
    select: false, revision: null, latest: null, at: null, at_plant_s: null, when: "", group: "", transitions,
  };
}

test("everything unsent can be cancelled, and nothing else", () => {
  const statuses = ["DRAFT", "SELECTED", "AWAITING_APPROVAL", "SCHEDULED", "QUEUED", "SENT", "ACKNOWLEDGED", "UNKNOWN", "CONFIRMED"];
  expect(statuses.filter((s) => cancellable(command("a", step(s, 1))))).toEqual(statuses.slice(0, 5));
});

test("a command waits for somebody while it is selected, awaits approval or is not known", () => {
  expect(["SELECTED", "AWAITING_APPROVAL", "UNKNOWN", "QUEUED"].map((s) => needsPerson(command("a", step(s, 1))))).toEqual([true, true, true, false]);
});

test("a refusal says whether the device, a person or the server refused", () => {
  expect(meaning(command("a", step("QUEUED", 1), step("SENT", 2), step("REFUSED", 3)))).toBe("the device refused it");
  expect(meaning(command("a", step("AWAITING_APPROVAL", 1), step("REFUSED", 2, { detail: "rejected: no", by: "bert" })))).toBe("bert rejected it");
  expect(meaning(command("a", step("REFUSED", 1, { detail: "interlock dry" })))).toBe("refused before it was sent");
});

test("what was settled by hand says whose word it is", () => {
  expect(meaning(command("a", step("UNKNOWN", 1), step("CONFIRMED", 2)))).toBe("the plant did it");
  expect(meaning(command("a", step("UNKNOWN", 1), step("CONFIRMED", 2, { by: "bert" })))).toBe("bert saw that the plant did it");
});

test("only a confirmed command is done", () => {
  expect(["SENT", "ACKNOWLEDGED"].map((s) => standing(command("a", step(s, 1))))).toEqual(["open", "open"]);
  expect(standing(command("a", step("CONFIRMED", 1)))).toBe("done");
});

test("an answer that an event has overtaken does not take the command back", () => {
  const old = command("a", step("QUEUED", 1));
  const confirmed = command("a", step("QUEUED", 1), step("SENT", 2), step("CONFIRMED", 2));
  expect(later(confirmed, old)).toBe(confirmed);
  expect(merged([confirmed], [old], 10)).toEqual([confirmed]);
});

test("commands are listed newest first, and an open one is never left out", () => {
  const waits = command("waits", step("AWAITING_APPROVAL", 1));
  const ended = [2, 3, 4].map((time) => command(`c${time}`, step("QUEUED", time), step("CONFIRMED", time + 1)));
  expect(merged([waits], ended, 2).map((c) => c.id)).toEqual(["c4", "c3", "waits"]);
});
