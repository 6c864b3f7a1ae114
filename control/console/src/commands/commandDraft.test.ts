import { beforeEach, expect, test, vi } from "vitest";
import type { CommandCheck, CommandRecord, CommandRequest, PointInfo, WhatIfPlan } from "../wire";

const point = { name: "tank_1.valve", type: "double", low: 0, high: 100, unit: "%", select: false, names: [] } as unknown as PointInfo;
const server = vi.hoisted(() => ({
  plan: null as unknown, check: null as unknown, sent: [] as unknown[], answer: (): unknown => ({ id: "c1", transitions: [] }),
}));

vi.mock("../live/session.svelte", () => ({
  session: {
    pointOfName: new Map([["tank_1.valve", point]]), hindrance: "", desk: { keep: () => undefined },
    notice: (error: { body?: unknown; message: string }) => error.body ?? { code: "console", message: error.message, hint: "" },
  },
}));
vi.mock("../api", () => ({
  whatIfPlan: () => Promise.resolve(server.plan),
  checkCommand: () => Promise.resolve(server.check),
  sendCommand: (request: unknown) => {
    server.sent.push(request);
    return Promise.resolve().then(server.answer);
  },
  command: (id: string) => Promise.resolve({ id, transitions: [] }),
}));
const { CommandDraft } = await import("./commandDraft.svelte");

const ALLOWED = { allowed: true, detail: "" } as CommandCheck;
const planned: CommandRequest = { key: "plan-1", point: "tank_1.valve", value: 40, reason: "what-if", at_plant_s: 7_200, wait_s: 60 } as CommandRequest;
const plan = (more: Partial<WhatIfPlan> = {}): WhatIfPlan => ({ id: "w", overdue: false, commands: [planned], ...more }) as WhatIfPlan;
const keys = (): string[] => server.sent.map((r) => (r as CommandRequest).key);

function filled(): InstanceType<typeof CommandDraft> {
  const draft = new CommandDraft("tank_1.valve");
  draft.value = "40";
  return draft;
}

beforeEach(() => {
  Object.assign(server, { plan: plan(), check: ALLOWED, sent: [], answer: () => ({ id: "c1", transitions: [] }) as unknown as CommandRecord });
});

test("nothing is asked before point and value are right", async () => {
  const draft = new CommandDraft("tank_1.valve");
  draft.value = "140";
  expect([draft.ready, draft.mistake]).toEqual([false, "At most 100 %"]);
  await draft.review();
  expect(draft.reviewed).toBe(null);
});

test("what is sent is what was reviewed, and the next command has another key", async () => {
  const draft = filled();
  const { key } = draft;
  await draft.review();
  expect(draft.reviewed?.request).toMatchObject({ key, point: "tank_1.valve", value: 40, deadline_s: 30 });
  await draft.send();
  expect(keys()).toEqual([key]);
  expect(draft.sent?.id).toBe("c1");
  expect([draft.value, draft.reviewed, draft.key === key]).toEqual(["", null, false]);
});

test("after a lost answer the same command is sent again under its key; once changed it is another", async () => {
  const draft = filled();
  const { key } = draft;
  await draft.review();
  server.answer = () => {
    throw new Error("no answer");
  };
  await draft.send();
  await draft.send();
  expect(keys()).toEqual([key, key]);
  draft.change();
  expect(draft.key).not.toBe(key);
});

test("a command that was recorded and refused has used up its key", async () => {
  const draft = filled();
  const { key } = draft;
  await draft.review();
  server.answer = () => {
    throw Object.assign(new Error(), { body: { code: "refused", message: "interlock", hint: "", command: "c9" } });
  };
  await draft.send();
  expect([draft.problem?.command, draft.sent?.id, draft.reviewed, draft.key === key]).toEqual(["c9", "c9", null, false]);
});

test("a review that was overtaken by a change is none", async () => {
  const draft = filled();
  const asking = draft.review();
  draft.change();
  await asking;
  expect(draft.reviewed).toBe(null);
});

test("a step of a plan keeps the plan's key and moment until it is altered", async () => {
  const draft = new CommandDraft();
  await draft.prepare("w", 1);
  expect([draft.key, draft.value, draft.moment?.at_plant_s, draft.from]).toEqual(["plan-1", "40", 7_200, "step 1 of 1 of what-if w"]);
  await draft.review();
  expect(draft.reviewed?.request).toMatchObject({ key: "plan-1", at_plant_s: 7_200, wait_s: 60 });
  draft.alter();
  expect([draft.key === "plan-1", draft.moment, draft.from, draft.reviewed]).toEqual([false, null, "", null]);
});

test("a plan that is too late is not prepared", async () => {
  server.plan = plan({ overdue: true });
  const draft = new CommandDraft();
  await draft.prepare("w", 1);
  expect([draft.name, draft.from]).toEqual(["", ""]);
  expect(draft.problem?.message).toContain("moment of a step is past");
});
