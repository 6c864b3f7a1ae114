// A command before it is sent: what is asked for, under which key, and what the server said it would meet; must not know
// components.
import * as api from "../api";
import { newKey } from "./commands";
import { Newest } from "../live/newest";
import { session } from "../live/session.svelte";
import { valueMistake } from "../whatif/scenario";
import { stepOf } from "../whatif/whatif";
import type { CommandCheck, CommandRecord, CommandRequest, ErrorBody, PointInfo } from "../wire";

export const PRIORITIES = ["safety", "operator", "schedule", "optimiser"] as const;
/** As the server takes it. */
const DEADLINE_LEAST_S = 0.1;
const DEADLINE_MOST_S = 3_600;
const WAIT_S = 86_400;

export class CommandDraft {
  name = $state("");
  value = $state("");
  reason = $state("");
  deadlineS = $state(30);
  priority = $state<(typeof PRIORITIES)[number]>("operator");
  when = $state("");
  waitH = $state(24);
  key = $state(newKey());
  /** A step of a what-if's plan: its moment, and how long that is waited for. */
  moment = $state.raw<Pick<CommandRequest, "at" | "at_plant_s" | "wait_s"> | null>(null);
  /** What it was prepared from, "" for nothing. */
  from = $state("");
  reviewed = $state.raw<{ request: CommandRequest; check: CommandCheck } | null>(null);
  busy = $state(false);
  problem = $state.raw<ErrorBody | null>(null);
  sent = $state.raw<CommandRecord | null>(null);
  /** The key left this page: whatever else is asked for now needs another. */
  private used = false;
  private readonly reviews = new Newest();

  readonly point: PointInfo | undefined = $derived(session.pointOfName.get(this.name));
  private readonly number = $derived(this.value.trim() === "" ? NaN : Number(this.value));
  readonly mistake = $derived(!this.point ? "" : this.value.trim() === "" ? "Choose a value." : valueMistake(this.point, this.number));
  readonly deadlineMistake = $derived(
    this.deadlineS >= DEADLINE_LEAST_S && this.deadlineS <= DEADLINE_MOST_S ? "" : `${DEADLINE_LEAST_S} … ${DEADLINE_MOST_S} s`,
  );
  readonly ready = $derived(this.point !== undefined && this.mistake === "" && this.deadlineMistake === "");

  constructor(name = "") {
    this.name = name;
  }

  /** Another reason, deadline or class: what was reviewed is so no longer. */
  change(): void {
    if (this.used) this.key = newKey();
    this.used = false;
    this.reviews.ask();
    [this.reviewed, this.problem, this.sent] = [null, null, null];
  }

  /** Another point or value is another command than the what-if's. */
  alter(): void {
    if (this.from) this.key = newKey();
    this.from = "";
    this.moment = null;
    this.change();
  }

  /** Fills in a step of a what-if's plan, as the server wrote it; with its key it is one command, however often it is sent. */
  async prepare(id: string, step: number): Promise<void> {
    try {
      const plan = await api.whatIfPlan(id);
      const command = stepOf(plan, step);
      this.key = command.key;
      this.name = command.point;
      this.value = String(command.value);
      this.reason = command.reason ?? "";
      this.priority = "operator";
      this.moment = command.at || command.at_plant_s ? { at: command.at ?? null, at_plant_s: command.at_plant_s ?? null, wait_s: command.wait_s ?? WAIT_S } : null;
      this.from = `step ${step} of ${plan.commands.length} of what-if ${id}`;
    } catch (error) {
      this.problem = session.notice(error);
    }
  }

  /** Asks what it would meet, so that nobody sends what is refused, or what waits for others without knowing it. */
  async review(): Promise<void> {
    if (!this.ready || this.point === undefined || session.hindrance) return;
    const request = this.request(this.point);
    const counts = this.reviews.ask();
    await this.during(async () => {
      const check = await api.checkCommand(request);
      // What was changed meanwhile was not reviewed.
      if (counts()) this.reviewed = { request, check };
    });
  }

  async send(): Promise<void> {
    const asked = this.reviewed;
    if (asked === null || session.hindrance) return;
    this.used = true;
    await this.during(async () => {
      try {
        const record = await api.sendCommand(asked.request);
        session.desk.keep(record);
        this.fresh(record);
      } catch (error) {
        // The key stays: sending again after a lost answer is the same command, never a second one.
        this.problem = session.notice(error);
        if (this.problem.command) await this.refused(this.problem.command);
      }
    });
  }

  private request(point: PointInfo): CommandRequest {
    return {
      key: this.key, point: point.name, value: this.number, reason: this.reason.trim(), deadline_s: this.deadlineS,
      priority: this.priority, select: point.select,
      ...(this.when.trim() === "" ? {} : { when: this.when.trim(), wait_s: this.waitH * 3600 }),
      ...this.moment,
    };
  }

  private async during(work: () => Promise<void>): Promise<void> {
    this.busy = true;
    this.problem = null;
    try {
      await work();
    } catch (error) {
      this.problem = session.notice(error);
    } finally {
      this.busy = false;
    }
  }

  /** It was recorded although it is refused: its key is used up, and its record has what was seen. */
  private async refused(id: string): Promise<void> {
    const record = await api.command(id);
    session.desk.keep(record);
    this.sent = record;
    this.reviewed = null;
    this.key = newKey();
    this.used = false;
  }

  private fresh(record: CommandRecord): void {
    this.sent = record;
    this.reviewed = null;
    [this.value, this.reason, this.when, this.from] = ["", "", "", ""];
    this.moment = null;
    this.priority = "operator";
    this.key = newKey();
    this.used = false;
  }
}
