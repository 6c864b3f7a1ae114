// What the states of a command mean to a reader; the states themselves are control/command.py's.
import type { CommandRecord, PointInfo } from "./wire";
import { quantity, valueWords } from "./words";

// Only CONFIRMED means that the plant did it: nothing before it may sound as if it were done.
const MEANING: Record<string, string> = {
  QUEUED: "waiting to be sent",
  SENT: "sent, no answer yet",
  ACKNOWLEDGED: "the device took it; waiting for the plant to show it",
  UNKNOWN: "outcome not known; being read back",
  CONFIRMED: "the plant did it",
  REFUSED: "the device refused it",
  EXPIRED: "its deadline passed before it was sent",
  CANCELLED: "cancelled before it was sent",
  SUPERSEDED: "a later command took its place",
  FAILED: "the plant did not do it",
};

export type Standing = "open" | "done" | "ended" | "abnormal" | "doubtful";

export function meaning(status: string): string {
  return MEANING[status] ?? status.toLowerCase();
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
  return command.status === "QUEUED";
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
