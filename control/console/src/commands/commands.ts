// What the states of a command mean to a reader and what may be done in each; the states are control/command.py's.
import type { CommandRecord, PointInfo } from "../wire";
import { quantity, valueWords } from "../words";

// Only CONFIRMED means that the plant did it: nothing before it may sound as if it were done.
const MEANING: Record<string, string> = {
  DRAFT: "being predicted",
  SELECTED: "its point is reserved; waits to be operated",
  AWAITING_APPROVAL: "waits for somebody's approval",
  SCHEDULED: "waits for its time, its condition or its turn",
  QUEUED: "waiting to be sent",
  SENT: "sent, no answer yet",
  ACKNOWLEDGED: "the device took it; waiting for the plant to show it",
  UNKNOWN: "outcome not known; being read back",
  CONFIRMED: "the plant did it",
  EXPIRED: "its time passed before it was sent",
  CANCELLED: "cancelled before it was sent",
  SUPERSEDED: "a later command took its place",
  FAILED: "the plant did not do it",
};
/** Nothing of it has left: it can be cancelled. */
const UNSENT = new Set(["DRAFT", "SELECTED", "AWAITING_APPROVAL", "SCHEDULED", "QUEUED"]);

export type Standing = "open" | "done" | "ended" | "abnormal" | "doubtful";

export function meaning(command: CommandRecord): string {
  if (command.status === "REFUSED") return refusal(command);
  const last = command.transitions.at(-1);
  // Settled by hand: what the plant did is known only by what somebody says.
  if (command.final && last?.by) {
    if (command.status === "CONFIRMED") return `${last.by} saw that the plant did it`;
    if (command.status === "FAILED") return `${last.by} saw that the plant did not do it`;
  }
  return MEANING[command.status] ?? command.status.toLowerCase();
}

/** Who refused it: the device after it was sent, a person instead of approving it, or the server by what it saw. */
function refusal(command: CommandRecord): string {
  if (command.transitions.some((t) => t.status === "SENT")) return "the device refused it";
  const last = command.transitions.at(-1);
  return last?.detail.startsWith("rejected") ? `${last.by} rejected it` : "refused before it was sent";
}

export function standing(command: CommandRecord): Standing {
  switch (command.status) {
    case "CONFIRMED":
      return "done";
    case "UNKNOWN":
      return "doubtful";
    case "FAILED":
    case "REFUSED":
    case "EXPIRED":
      return "abnormal";
    default:
      return command.final ? "ended" : "open";
  }
}

/** Bytes that left cannot be called back. */
export function cancellable(command: CommandRecord): boolean {
  return UNSENT.has(command.status);
}

/** Whether it stands still until a person does something. */
export function needsPerson(command: CommandRecord): boolean {
  return command.status === "SELECTED" || command.status === "AWAITING_APPROVAL" || command.status === "UNKNOWN";
}

/** An answer may be overtaken by an event, and an event by an answer: of two records of one command the one that knows more. */
export function later(a: CommandRecord, b: CommandRecord): CommandRecord {
  if (a.final !== b.final) return a.final ? a : b;
  const told = (c: CommandRecord): number => c.transitions.at(-1)?.time ?? 0;
  return told(b) >= told(a) ? b : a;
}

/** Each command once, as its latest record has it, newest first; beyond `most` the oldest that have ended are left out. */
export function merged(known: readonly CommandRecord[], news: readonly CommandRecord[], most: number): CommandRecord[] {
  const found = new Map(known.map((c) => [c.id, c]));
  for (const record of news) {
    const held = found.get(record.id);
    found.set(record.id, held === undefined ? record : later(held, record));
  }
  const begun = (c: CommandRecord): number => c.transitions[0]?.time ?? 0;
  const sorted = [...found.values()].sort((a, b) => begun(b) - begun(a));
  return sorted.length <= most ? sorted : sorted.filter((c, i) => i < most || !c.final);
}

export function commandValue(point: PointInfo | undefined, value: number): string {
  if (!point) return quantity(value);
  const words = valueWords(point, value, undefined);
  return point.unit ? `${words} ${point.unit}` : words;
}

/** Made in the browser, so that a click that is sent twice is one command. `crypto.randomUUID` needs a secure context. */
export function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return `console-${Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("")}`;
}
