// What the whole console shares: the plant, its live values, links, who is signed in and how fresh all of it is.
import { Ahead } from "../ahead/ahead.svelte";
import { Alarms } from "../alarms/alarms.svelte";
import type { WorstAlarm } from "../alarms/alarmsThen";
import { wholes } from "../plant/partOf";
import * as api from "../api";
import { decodeColumns } from "./columns";
import { Connection, type Epoch } from "./connection";
import { Desk } from "../commands/desk.svelte";
import { CHECK_EVERY_MS, ClockOffset, Look, screenIsStale } from "./freshness";
import { PointTable } from "./points";
import { commandHindrance } from "../shell/rights";
import type {
  AuditHead, ErrorBody, Event as WireEvent, PlantInfo, PointInfo, ServerMessage, TwinInfo, WhatIfRun, Who,
} from "../wire";

export type Phase = "loading" | "ready" | "signed-out" | "failed";

export interface LinkState {
  device: string;
  state: string;
  detail: string;
}

/** Progress of a what-if as an event tells it; the run itself is fetched. */
export type WhatIfNews = Pick<WhatIfRun, "id" | "state" | "progress" | "left_s">;
export type AuditNews = Pick<AuditHead, "size" | "checkpointed" | "anchored">;

const RETRY_MS = 2_000;

export class Session {
  /** What is live is what the screen shows unless a view shows the past (shown.svelte.ts). */
  readonly past = false;
  phase = $state<Phase>("loading");
  problem = $state.raw<ErrorBody | null>(null);
  plant = $state.raw<PlantInfo | null>(null);
  table = $state.raw(new PointTable([]));
  /** Who is signed in and what the role may do; null before it is known. */
  who = $state.raw<Who | null>(null);
  readonly desk = new Desk((error) => this.notice(error));
  readonly ahead = new Ahead((error) => this.notice(error));
  readonly alarms = new Alarms((error) => this.notice(error), () => this.wholeOf);
  /** Grows at most once per animation frame, when values changed: whoever shows values reads it. */
  tick = $state(0);
  /** The server's clock, advanced four times a second: whoever shows ages reads it. */
  now = $state(Date.now());
  /** Grows with every connection and return to the screen: what frames keep up to date must then be fetched anew. */
  generation = $state(0);
  stale = $state(false);
  /** Whether the server has another console than the one that runs here. */
  outdated = $state(false);
  /** Server time of the last frame or heartbeat; null before the first. */
  lastFrame = $state<number | null>(null);
  tally = $state.raw<number[]>([0, 0, 0, 0, 0]);
  whatIfNews = $state.raw<WhatIfNews | null>(null);
  auditNews = $state.raw<AuditNews | null>(null);
  twinOfId = $derived(new Map<string, TwinInfo>(this.plant?.twins.map((t) => [t.id, t])));
  pointOfName = $derived(new Map<string, PointInfo>(this.plant?.points.map((p) => [p.name, p])));
  pointOfId = $derived(new Map<number, PointInfo>(this.plant?.points.map((p) => [p.id, p])));
  pointsOfTwin = $derived(Map.groupBy(this.plant?.points ?? [], (p) => p.twin));
  /** Twin -> the twin that it is part of. */
  wholeOf = $derived(this.plant === null ? new Map<string, string>() : wholes(this.plant));
  writable = $derived((this.plant?.points ?? []).filter((p) => p.writable));
  /** Commands may be sent only while what the screen shows can be believed. */
  locked = $derived(this.stale || this.lastFrame === null);
  /** Why nothing can be commanded now, "" when something can. */
  hindrance = $derived(this.locked ? "Locked: the values on this screen are stale." : commandHindrance(this.who));

  /** Since the last snapshot, which has the states of then. */
  private linkEvents = $state.raw<Record<string, LinkState>>({});
  private readonly clock = new ClockOffset();
  private aliveAt = performance.now();
  private drawing = false;
  private reloading = false;
  private plantIsOld = false;
  /** The life of the server that the plant and the ids of its points are of; null before the first. */
  private epoch: Epoch | null = null;
  /** One greeting after the other: the last one says which life of the server is shown. */
  private welcomed: Promise<void> = Promise.resolve();
  private connection: Connection | null = null;

  async start(): Promise<void> {
    setInterval(() => this.check(), CHECK_EVERY_MS);
    // A hidden page draws no frames, so trends have a hole: a hole must not be drawn over with a straight line.
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") this.generation += 1;
    });
    await this.loadPlant();
  }

  get alarmsOf(): ReadonlyMap<string, WorstAlarm> {
    return this.alarms.ofTwin;
  }

  /** The latest word on one device: an event when there was one, else the point that carries the state. */
  link(device: string): LinkState {
    void this.tick;
    const id = this.table.id(`${device}.state`);
    const text = id === undefined ? undefined : this.table.text.get(id);
    const event = this.linkEvents[device];
    return event ?? { device, state: text ?? "unknown", detail: "" };
  }

  /** How far the plant's own time can be believed; good where the plant has no clock. */
  get clockLook(): Look {
    void this.tick;
    const name = this.plant?.clock ?? null;
    const id = name === null ? undefined : this.table.id(name);
    if (id === undefined) return Look.good;
    return this.stale ? Look.stale : (this.table.look[id] as Look);
  }

  /** The plant's own time now, in seconds; our own where the plant has no clock, NaN while its clock cannot be believed. */
  get clockS(): number {
    void this.tick;
    const name = this.plant?.clock ?? null;
    const id = name === null ? undefined : this.table.id(name);
    if (id === undefined) return this.now / 1000;
    return this.table.look[id] === Look.good ? this.table.value[id]! : NaN;
  }

  /** Every error of the API passes here: a lost session ends the view it happened in. */
  notice(error: unknown): ErrorBody {
    if (error instanceof api.ApiError && error.status === 401) this.phase = "signed-out";
    return api.asErrorBody(error);
  }

  private async loadPlant(): Promise<void> {
    try {
      // Who is not signed in is asked to, without a 401 that the browser would print as an error.
      if (!(await api.signInWays()).signed_in) {
        this.phase = "signed-out";
        return;
      }
      const plant = await api.plant();
      this.table = new PointTable(plant.points);
      this.plant = plant;
      this.problem = null;
      this.phase = "ready";
      this.aliveAt = performance.now();
      this.connect();
    } catch (error) {
      this.problem = this.notice(error);
      if ((this.phase as Phase) === "signed-out") return;
      this.phase = "failed";
      setTimeout(() => void this.loadPlant(), RETRY_MS);
    }
  }

  /**
   * The plant has been edited. The table keeps values of points that are new until it is told of them. Edits that come
   * while the plant is fetched make one more fetch, not many.
   */
  private async reloadPlant(): Promise<void> {
    this.plantIsOld = true;
    if (this.reloading) return;
    this.reloading = true;
    try {
      while (this.plantIsOld) {
        this.plantIsOld = false;
        const plant = await api.plant();
        const table = new PointTable(plant.points);
        table.takeOver(this.table);
        this.table = table;
        this.plant = plant;
        this.draw();
      }
    } catch (error) {
      this.problem = this.notice(error);
      if ((this.phase as Phase) !== "signed-out") setTimeout(() => void this.reloadPlant(), RETRY_MS);
    } finally {
      this.reloading = false;
    }
  }

  /** With each connection, before values come: what frames do not tell is fetched, in another life of the server all. */
  private async begin(epoch: Epoch): Promise<void> {
    if (this.epoch !== null && this.epoch !== epoch) await this.renew();
    if ((this.phase as Phase) === "signed-out") return;
    this.epoch = epoch;
    this.generation += 1;
    void this.loadWho();
    void this.desk.load();
    void this.ahead.load();
    void this.alarms.load();
  }

  /** Ids of points are of one life of the server only: those of another would show values under wrong names. */
  private async renew(): Promise<void> {
    let plant: PlantInfo | null = null;
    while (plant === null) {
      try {
        plant = await api.plant();
      } catch (error) {
        this.problem = this.notice(error);
        if ((this.phase as Phase) === "signed-out") return;
        await new Promise((done) => setTimeout(done, RETRY_MS));
      }
    }
    this.table = new PointTable(plant.points);
    this.plant = plant;
    this.linkEvents = {};
    this.desk.forget();
    void this.noticeNewBuild();
  }

  /** Another server may come with another console, and only the page itself can fetch that. */
  private async noticeNewBuild(): Promise<void> {
    const page = await fetch(document.baseURI, { cache: "no-store" }).then((r) => r.text(), () => "");
    const running = [...document.scripts].map((s) => s.getAttribute("src")).filter((src) => src?.includes("assets/"));
    this.outdated = page.includes("<script") && running.some((src) => !page.includes(src!));
  }

  /** Anew with each connection: a role may be another by then. */
  private async loadWho(): Promise<void> {
    try {
      this.who = await api.who();
    } catch (error) {
      this.notice(error);
      if ((this.phase as Phase) !== "signed-out") setTimeout(() => void this.loadWho(), RETRY_MS);
    }
  }

  private connect(): void {
    this.connection = new Connection(
      {
        ticket: async () => (await api.ticket()).ticket,
        open: (protocol) => new WebSocket(new URL("ws", document.baseURI).href.replace(/^http/, "ws"), protocol),
        refused: (error) => error instanceof api.ApiError && error.status === 401,
      },
      {
        message: (message) => this.receive(message),
        welcomed: (epoch) => (this.welcomed = this.welcomed.then(() => this.begin(epoch))),
        alive: () => {
          this.aliveAt = performance.now();
          this.lastFrame = this.serverNow();
          this.setStale(false);
        },
        closed: () => undefined,
        signedOut: () => {
          this.phase = "signed-out";
        },
      },
    );
    void this.connection.start();
  }

  /** Ends the session; the page starts anew, signed out, and takes its socket with it. */
  async signOut(): Promise<void> {
    const next = await api.signOut().catch(() => "");
    if (next === "") location.reload();
    else location.assign(next);
  }

  private receive(message: ServerMessage): void {
    switch (message.t) {
      case "welcome":
      case "heartbeat":
        this.clock.observe(message.time, Date.now());
        break;
      case "snapshot":
        this.linkEvents = {};
        this.table.apply(decodeColumns(message.columns), true);
        this.draw();
        break;
      case "delta":
        this.clock.observe(message.time, Date.now());
        this.table.apply(decodeColumns(message.columns), false);
        this.draw();
        break;
      case "event":
        this.happened(message);
        break;
    }
  }

  private happened(event: WireEvent): void {
    if (this.desk.happened(event.kind, event.body) || this.ahead.happened(event.kind)) return;
    if (this.alarms.happened(event.kind, event.body)) return;
    switch (event.kind) {
      case "link": {
        const link = event.body as unknown as LinkState;
        this.linkEvents = { ...this.linkEvents, [link.device]: link };
        break;
      }
      case "whatif":
        this.whatIfNews = event.body as unknown as WhatIfNews;
        break;
      case "plant":
        void this.reloadPlant();
        break;
      case "audit":
        this.auditNews = event.body as unknown as AuditNews;
        break;
    }
  }

  /** Frames may come faster than the screen draws: many of them make one drawing. */
  private draw(): void {
    if (this.drawing) return;
    this.drawing = true;
    requestAnimationFrame(() => {
      this.drawing = false;
      this.judge();
      this.tick += 1;
    });
  }

  private check(): void {
    if (this.phase !== "ready") return;
    this.setStale(screenIsStale(performance.now() - this.aliveAt));
    this.judge();
    this.now = this.serverNow();
  }

  private judge(): void {
    this.table.judge(this.serverNow());
    const tally = this.table.tally();
    if (tally.some((count, look) => count !== this.tally[look])) this.tally = tally;
  }

  private setStale(stale: boolean): void {
    if (stale === this.stale) return;
    this.stale = stale;
    // Nothing that waits for a server that may be gone may stand in the way of an emergency stop.
    if (stale) api.abandonReads();
  }

  private serverNow(): number {
    return Date.now() + this.clock.offset;
  }
}

export const session = new Session();
