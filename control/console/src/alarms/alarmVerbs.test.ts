import { expect, test } from "vitest";
import type { Who } from "../wire";
import { alarm } from "./alarmSpecimen";
import { type Verb, verbHindrance, VERBS, whyNotWords } from "./alarmVerbs";

const who = (role: string, ...may: string[]): Who => ({ name: "x", role, may, approves: [] }) as unknown as Who;
const offered = VERBS.filter((v) => ["acknowledge", "shelve", "comment", "suppress", "remove"].includes(v.verb));
const words = (of: Who, reason: string, acked = false): string =>
  whyNotWords(of, offered, (verb: Verb) => verbHindrance(of, verb, [alarm("t", { acked })], reason));

test("why a button is grey stands in one line: what is missing, and what is not for the role", () => {
  expect(words(who("operator", "acknowledge"), "")).toBe(
    "Shelve, Comment: say why first: it is kept with the alarm. Suppress, Out of service: not for the role operator.",
  );
  expect(words(who("operator", "acknowledge"), "seen", true)).toBe(
    "Acknowledge: none of the chosen alarms can be acknowledged now. Suppress, Out of service: not for the role operator.",
  );
});

test("nothing is said where all can be done", () => {
  expect(words(who("engineer", "acknowledge", "suppress", "service"), "seen")).toBe("");
});
