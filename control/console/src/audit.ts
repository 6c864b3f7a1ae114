// Which entries of the audit log are asked for, and how pages of them are put together; must not know components.
import { csv } from "./save";
import type { AuditEntry, AuditHead } from "./wire";

/** What may be asked for; the words of the address are the server's. `*` stands for any characters. */
export const FIELDS = [
  { name: "twin", label: "Twin", hint: "pump_335, pump_*" },
  { name: "point", label: "Point", hint: "tank_1.level" },
  { name: "by", label: "Who", hint: "anna" },
  { name: "command", label: "Command", hint: "its id" },
  { name: "since", label: "Since", hint: "-12h, 2026-11-21 18:00" },
  { name: "until", label: "Until", hint: "-1h" },
] as const;

export const PAGE = 100;
/** Entries of one file: some 50 MB. */
export const SAVED_MOST = 100_000;
export const SAVED_PAGE = 1_000;

/** What the address asks for, without what is empty or unknown. */
export function asked(query: URLSearchParams): Record<string, string> {
  const names = ["kind", ...FIELDS.map((f) => f.name)];
  return Object.fromEntries(names.flatMap((n) => (query.get(n) ? [[n, query.get(n)!]] : [])));
}

/**
 * The entries that are held with the newest page put before them, at the levels of now. A page that lies wholly after
 * what is held leaves a hole in between, and one that nothing follows has all: then it is the page alone.
 */
export function joined(held: readonly AuditEntry[], head: AuditHead): AuditEntry[] {
  const page = head.entries;
  const [oldest, newest] = [page.at(-1), held[0]];
  if (oldest === undefined || newest === undefined || head.next === null || oldest.index > newest.index) return page;
  return [...page, ...held.filter((e) => e.index < oldest.index).map((e) => ({ ...e, levels: levels(e.index, head) }))];
}

function levels(index: number, head: AuditHead): string[] {
  const reached = { recorded: head.size, checkpointed: head.checkpointed, witnessed: head.witnessed, anchored: head.anchored };
  return Object.entries(reached).flatMap(([level, size]) => (index < size ? [level] : []));
}

export function asCsv(entries: readonly AuditEntry[]): string {
  return csv(
    ["entry", "time", "kind", "levels", "body"],
    entries.map((e) => [e.index, new Date(e.time).toISOString(), e.kind, e.levels.join(" "), JSON.stringify(e.body)]),
  );
}
