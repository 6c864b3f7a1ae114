// What people do with alarms: which verb fits which alarm, who may, and for how long a shelf is; the server decides
// (twin/alarms.py, control/permissions.py), this only explains.
import type { AlarmRecord, AlarmVerb, Who } from "../wire";

interface Row {
  verb: string;
  label: string;
  /** What it did, after a number. */
  done: string;
  act: string;
  /** Whether it takes a reason. */
  reasoned: boolean;
  fits: (a: AlarmRecord) => boolean;
}

export const VERBS = [
  { verb: "acknowledge", label: "Acknowledge", done: "acknowledged", act: "acknowledge", reasoned: false, fits: (a) => !a.acked },
  { verb: "confirm", label: "Confirm", done: "confirmed", act: "acknowledge", reasoned: false, fits: (a) => a.acked && !a.confirmed },
  { verb: "reset", label: "Reset", done: "reset", act: "acknowledge", reasoned: false, fits: (a) => a.latched && !a.active && a.acked && a.confirmed },
  { verb: "shelve", label: "Shelve", done: "shelved", act: "acknowledge", reasoned: true, fits: (a) => !a.out_of_service },
  { verb: "unshelve", label: "Unshelve", done: "taken off the shelf", act: "acknowledge", reasoned: false, fits: (a) => a.shelf !== "unshelved" },
  { verb: "comment", label: "Comment", done: "commented", act: "acknowledge", reasoned: true, fits: () => true },
  { verb: "suppress", label: "Suppress", done: "suppressed", act: "suppress", reasoned: true, fits: (a) => !a.suppressed },
  { verb: "unsuppress", label: "End suppression", done: "no longer suppressed", act: "suppress", reasoned: false, fits: (a) => a.suppressed },
  { verb: "remove", label: "Out of service", done: "out of service", act: "service", reasoned: true, fits: (a) => !a.out_of_service },
  { verb: "return", label: "Return to service", done: "back in service", act: "service", reasoned: false, fits: (a) => a.out_of_service },
] as const satisfies readonly Row[];
export type Verb = (typeof VERBS)[number]["verb"];

export function verbRow(verb: Verb): Row {
  return VERBS.find((row) => row.verb === verb)!;
}

const ACTS: Record<string, string> = {
  acknowledge: "acknowledge, shelve or comment on alarms", suppress: "suppress alarms", service: "take alarms out of service",
};

/** Why the role may not, "" when it may. */
export function alarmHindrance(who: Who | null, verb: Verb): string {
  if (who === null) return "It is not known yet who is signed in.";
  const act = verbRow(verb).act;
  return who.may.includes(act) ? "" : `The role ${who.role} may not ${ACTS[act]}.`;
}

/** Why nothing of it can be done now, "" when something can. */
export function verbHindrance(who: Who | null, verb: Verb, chosen: readonly AlarmRecord[], reason = "given"): string {
  const role = alarmHindrance(who, verb);
  if (role) return role;
  if (chosen.length === 0) return "Choose alarms first.";
  if (!chosen.some(verbRow(verb).fits)) return `None of the chosen alarms can be ${verbRow(verb).done} now.`;
  return verbRow(verb).reasoned && reason.trim() === "" ? "Say why first: it is kept with the alarm." : "";
}

/** Why some of the verbs that are offered cannot be done now, in one line; `hindrance` as verbHindrance has it. */
export function whyNotWords(who: Who | null, offered: readonly Row[], hindrance: (verb: Verb) => string): string {
  const labels = new Map<string, string[]>();
  for (const { verb, label } of offered) {
    const denied = who !== null && alarmHindrance(who, verb as Verb) !== "";
    const why = denied ? `not for the role ${who.role}` : hindrance(verb as Verb);
    if (why !== "") labels.set(why, [...(labels.get(why) ?? []), label]);
  }
  return [...labels].map(([why, of]) => `${of.join(", ")}: ${why.charAt(0).toLowerCase()}${why.slice(1).replace(/\.$/, "")}.`).join(" ");
}

/** Alarms as they were when they were looked at: only that coming is acknowledged or confirmed. */
export function asked(verb: Verb, chosen: readonly AlarmRecord[], reason: string): AlarmVerb {
  const body: AlarmVerb = { alarms: chosen.map((a) => a.id), reason };
  if (verb === "acknowledge" || verb === "confirm") body.occurrences = Object.fromEntries(chosen.map((a) => [a.id, a.occurrence]));
  return body;
}

export const SHELVES_S = [900, 3600, 4 * 3600, 8 * 3600, 24 * 3600, 7 * 86_400];

/** The longest shelf: the role's, and that of the alarm where it is one. */
export function shelfMost(who: Who | null, operatorS: number, alarmS: number | null): number {
  const role = who?.may.includes("suppress") ? Infinity : operatorS;
  return Math.min(role, alarmS ?? Infinity);
}
