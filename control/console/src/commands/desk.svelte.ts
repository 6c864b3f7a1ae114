// What people command and hold: commands and what they wait for, groups, leases and stops; must not know how it is shown.
import * as api from "../api";
import { cancellable, merged } from "./commands";
import type { CommandRecord, ErrorBody, GroupRecord, LeaseRecord, StopInfo } from "../wire";

/** Newest commands that are asked for; what is open is kept beyond them. */
const COMMANDS_KEPT = 200;
/** The server's own limit of one page. */
const OPEN_MOST = 1_000;
const LIVES_KEPT = 100;
const RETRY_MS = 2_000;

export class Desk {
  commands = $state.raw<CommandRecord[] | null>(null);
  problem = $state.raw<ErrorBody | null>(null);
  /** Id -> what an unsent command waits for. Events do not carry it: it changes without anything happening to the command. */
  waits = $state.raw<ReadonlyMap<string, string>>(new Map());
  groups = $state.raw<GroupRecord[] | null>(null);
  leases = $state.raw<LeaseRecord[] | null>(null);
  stops = $state.raw<StopInfo[]>([]);
  /** The command whose prediction was made or scored last. */
  predicted = $state.raw<{ command: string } | null>(null);

  private again: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly notice: (error: unknown) => ErrorBody) {}

  /** What another life of the server told: records may be gone with its disk. */
  forget(): void {
    this.commands = null;
    this.groups = null;
    this.leases = null;
    this.waits = new Map();
  }

  /** After each connection. Whatever happens meanwhile comes as events: `merged` keeps the newer of both. */
  async load(): Promise<void> {
    try {
      const [newest, open, stops] = await Promise.all([api.commands(COMMANDS_KEPT), api.openCommands(OPEN_MOST), api.stops()]);
      const answered = new Set([...newest, ...open].map((c) => c.id));
      // Held as open, and neither open nor among the newest now: it ended while nobody told us.
      const ended = (this.commands ?? []).filter((c) => !c.final && !answered.has(c.id)).slice(0, LIVES_KEPT);
      const ends = await Promise.all(ended.map((c) => api.command(c.id).catch((error) => (api.isGone(error) ? null : c))));
      const held = (this.commands ?? []).filter((c) => c.final || answered.has(c.id));
      const told = [...newest, ...ends.filter((c) => c !== null)];
      this.commands = merged(merged(held, told, OPEN_MOST), open, COMMANDS_KEPT);
      this.noteWaits(open);
      this.stops = stops;
      this.problem = null;
    } catch (error) {
      this.problem = this.notice(error);
      clearTimeout(this.again);
      // Without its stops a plant has no stop button: this is never left undone.
      if (this.problem.code !== "denied") this.again = setTimeout(() => void this.load(), RETRY_MS);
    }
  }

  /** Whether of an unsent command it is not known what it waits for. */
  get waitsMissing(): boolean {
    return (this.commands ?? []).some((c) => cancellable(c) && !this.waits.has(c.id));
  }

  async loadWaits(): Promise<void> {
    if (!(this.commands ?? []).some(cancellable)) return;
    try {
      const open = await api.openCommands(OPEN_MOST);
      this.commands = merged(this.commands ?? [], open, COMMANDS_KEPT);
      this.noteWaits(open);
      this.problem = null;
    } catch (error) {
      this.problem = this.notice(error);
    }
  }

  async loadLives(): Promise<void> {
    try {
      [this.groups, this.leases] = await Promise.all([api.groups(LIVES_KEPT), api.leases(LIVES_KEPT)]);
      this.problem = null;
    } catch (error) {
      this.problem = this.notice(error);
    }
  }

  /** Whoever sent it and however we heard of it. */
  keep(record: CommandRecord): void {
    this.commands = merged(this.commands ?? [], [record], COMMANDS_KEPT);
    const waits = new Map(this.waits);
    // An event does not say what it waits for now, and what it waited for before would be wrong.
    if (record.waits_for === undefined) waits.delete(record.id);
    else waits.set(record.id, record.waits_for);
    this.waits = waits;
  }

  keepGroup(record: GroupRecord): void {
    if (this.groups !== null) this.groups = withNews(this.groups, record);
  }

  keepLease(record: LeaseRecord): void {
    if (this.leases !== null) this.leases = withNews(this.leases, record);
  }

  /** Does something to a command; what went wrong, or null. */
  async act(call: Promise<CommandRecord>): Promise<ErrorBody | null> {
    try {
      this.keep(await call);
      return null;
    } catch (error) {
      return this.notice(error);
    }
  }

  /** Of one kind of event; false: it is not ours. */
  happened(kind: string, body: unknown): boolean {
    switch (kind) {
      case "command":
        this.keep(body as CommandRecord);
        return true;
      case "group":
        this.keepGroup(body as GroupRecord);
        return true;
      case "lease":
        this.keepLease(body as LeaseRecord);
        return true;
      case "prediction":
        this.predicted = body as { command: string };
        return true;
      default:
        return false;
    }
  }

  private noteWaits(open: readonly CommandRecord[]): void {
    const unsent = (this.commands ?? []).filter(cancellable);
    this.waits = new Map([...unsent.map((c) => [c.id, ""] as const), ...open.map((c) => [c.id, c.waits_for ?? ""] as const)]);
  }
}

function withNews<T extends { id: string }>(held: readonly T[], news: T): T[] {
  return held.some((x) => x.id === news.id) ? held.map((x) => (x.id === news.id ? news : x)) : [news, ...held].slice(0, LIVES_KEPT);
}
