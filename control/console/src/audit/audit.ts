// Which entries of the audit log are asked for, and how pages of them are put together; must not know components.
import { csv } from "../save";
import type { AuditEntry, AuditHead } from "../wire";

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

/** More than these a page does not hold: older ones are asked for by `until`. */
export const HELD_MOST = 2_000;

/** Newest first. `older`: the entry before which older ones can be read; null when there are none. */
export interface Held {
  entries: readonly AuditEntry[];
  older: number | null;
}

export const NONE: Held = { entries: [], older: null };

/**
 * The entries that are held with the newest page put before them, at the levels of now. A page that lies wholly after
 * what is held leaves a hole in between, and one that nothing follows has all: then it is the page alone.
 */
export function joined({ entries, older }: Held, head: AuditHead): Held {
  const page = head.entries;
  const [oldest, newest] = [page.at(-1), entries[0]];
  if (oldest === undefined || newest === undefined || head.next === null || oldest.index > newest.index) return { entries: page, older: head.next };
  const rest = entries.filter((e) => e.index < oldest.index);
  if (rest.length === 0) return { entries: page, older: head.next };
  return within([...page, ...rest.map((e) => ({ ...e, levels: levels(e.index, head) }))], older);
}

/** With a page of older ones. */
export function extended({ entries }: Held, page: AuditHead): Held {
  return within([...entries, ...page.entries], page.next);
}

/** What is beyond the limit is left out; older ones go on from the last that is kept. */
function within(entries: readonly AuditEntry[], older: number | null): Held {
  return entries.length <= HELD_MOST ? { entries, older } : { entries: entries.slice(0, HELD_MOST), older: entries[HELD_MOST - 1]!.index };
}

export const isFull = (held: Held): boolean => held.entries.length >= HELD_MOST;

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
