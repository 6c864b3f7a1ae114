import { expect, test, vi } from "vitest";
import type { PointInfo, Trend } from "../wire";

const answers = vi.hoisted(() => new Map<string, (trend: Trend) => void>());
const point = (id: number, property: string): PointInfo => ({ id, name: `t.${property}`, twin: "t", property, names: [] }) as unknown as PointInfo;
const points = [point(0, "x"), ...["slow", "fast"].flatMap((row) => ["", "_low", "_high"].map((edge, n) => point(n + 1, `${row}_x_1min${edge}`)))];

vi.mock("../live/session.svelte", () => ({
  session: { pointsOfTwin: { get: () => points }, notice: (error: unknown) => error, ahead: { state: null }, plant: null },
}));
vi.mock("../api", () => ({
  history: (name: string) => new Promise<Trend>((done) => answers.set(name, done)),
}));
const { Line, Trends } = await import("./trends.svelte");

const trend = (value: number): Trend => ({ point: "", unit: "", time: [1000], value: [value], quality: [0], tier: "raw", whole: true });
const answer = (row: string, value: number): void => ["", "_low", "_high"].forEach((edge) => answers.get(`t.${row}_x_1min${edge}`)!(trend(value)));

test("the band is of the model chosen last, whichever answers first", async () => {
  const line = new Line(points[0]!);
  const slow = line.foretell("slow+60", [0, 1], 10, null);
  const fast = line.foretell("fast+60", [0, 1], 10, null);
  answer("fast", 2);
  await fast;
  answer("slow", 1);
  await slow;
  expect(line.band?.middle).toEqual([2]);
  const late = line.foretell("slow+60", [0, 1], 10, null);
  await line.foretell("", [0, 1], 10, null);
  answer("slow", 1);
  await late;
  expect(line.band).toBe(null);
});

test("a line stays as long as its point does, and begins anew with another id", () => {
  const trends = new Trends();
  trends.show([points[0]!]);
  const first = trends.lines[0];
  trends.show([{ ...points[0]! }]);
  expect(trends.lines[0]).toBe(first);
  trends.show([{ ...points[0]!, id: 7 }]);
  expect(trends.lines[0]).not.toBe(first);
  expect(trends.lines[0]!.point.id).toBe(7);
});
