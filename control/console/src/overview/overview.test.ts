import { expect, test } from "vitest";
import { alarm } from "../alarms/alarmSpecimen";
import { countUp } from "../alarms/alarmTree";
import { above, areasOf, asNow, blindOfArea, countsOfArea, type Figure, figuresOfTwin, levelOf, limitsOf, passed, placeOf, placeOn, scaleOf, standingOf, wordsOf } from "./overview";
import { wholes } from "../plant/partOf";
import type { AlarmRecord, PlantInfo, PointInfo, TwinInfo } from "../wire";

const twin = (id: string, kind_name: string, point: number | null = null): TwinInfo => ({
  id, interface: `dtmi:x:${kind_name};1`, kind: kind_name, kind_name, name: id, x: 0, y: 0,
  mark: point === null ? null : { shape: "tank", point, on: [] },
});

function point(id: number, name: string, low: number | null = null, high: number | null = null): PointInfo {
  const [of, property] = name.split(".") as [string, string];
  const free = { select: false, approvals: 0, approver: "", preflight: "off", title: "", names: [] };
  return { id, name, twin: of, property, type: "double", unit: "m", device: "scada", writable: false, low, high, ...free };
}

const PLANT: PlantInfo = {
  id: "p", name: "P", version: "1", clock: null, servings: [], simulated: [],
  devices: [{ id: "plc", protocol: "modbus", endpoint: "" }],
  twins: [twin("net", "Network"), twin("plc", "Link"), twin("station", "Station"), twin("pump", "Pump"), twin("t1", "Tank", 0), twin("t2", "Tank", 1)],
  relationships: [["net", "station"], ["net", "t1"], ["net", "t2"], ["station", "pump"]].map(([source, target]) => ({ source: source!, name: "contains", target: target! })),
  points: [point(0, "t1.level", 0, 10), point(1, "t2.level"), point(2, "pump.flow"), point(3, "net.demand")],
  overview: [],
};
const figure = (more: Partial<Figure> = {}): Figure => ({ point: PLANT.points[0]!, name: "", normal: null, target: null, ...more });

test("areas are what holds others within the whole, then kinds; links are none", () => {
  expect(areasOf(PLANT).map((a) => [a.id, a.twins.map((t) => t.id).join()])).toEqual([["kind:Tank", "t1,t2"], ["station", "station,pump"]]);
});

test("figures are those the plant names, in their area; without a word of it what large marks show", () => {
  expect(areasOf(PLANT)[0]!.figures.map((f) => f.point.name)).toEqual(["t1.level", "t2.level"]);
  const kpi = (id: number): PlantInfo["overview"][number] => ({ point: id, name: "K", normal: [1, 2], target: null });
  const areas = areasOf({ ...PLANT, overview: [kpi(2), kpi(3)] });
  expect(areas.map((a) => [a.id, a.figures.map((f) => f.point.name).join()])).toEqual([["net", "net.demand"], ["station", "pump.flow"], ["kind:Tank", ""]]);
  expect(figuresOfTwin(PLANT, PLANT.twins[3]!).map((f) => f.point.name)).toEqual(["pump.flow"]);
});

test("limits come from conditions of alarms, and the worst that is passed is told", () => {
  const said = (condition: string): AlarmRecord => ({ id: `a ${condition}`, point: "t1.level", condition }) as AlarmRecord;
  const limits = limitsOf([said("hi 8"), said("lolo 1"), said("lo 3"), said("deviation 5 from x"), said("hi -2.5e1")]).get("t1.level")!;
  expect(limits.map((l) => l.value)).toEqual([-25, 1, 3, 8]);
  const low = limits.filter((l) => l.word.startsWith("lo"));
  expect([5, 2, 0.5, NaN].map((v) => passed(v, low, new Set()))).toEqual(["", "lo", "lolo", ""]);
  expect(passed(0.5, low, new Set(["a lolo 1"]))).toBe("lo");
});

test("a bar goes a fifth beyond what matters and stays in the point's range", () => {
  expect(scaleOf(figure({ normal: [2, 7] }), [])).toEqual({ low: 1, high: 8 });
  expect(scaleOf(figure({ normal: [0, 10] }), [])).toEqual({ low: 0, high: 10 });
  expect(scaleOf(figure(), [])).toEqual({ low: 0, high: 10 });
  expect(scaleOf(figure({ point: PLANT.points[1]! }), [])).toBeNull();
  expect([placeOn({ low: 0, high: 4 }, 1), placeOn({ low: 0, high: 4 }, 9)]).toEqual([0.25, 1]);
});

test("a unit's alarms are its own and its parts', a kind's those of all its twins, counted as in the banner", () => {
  const alarm = (id: string, of: string, more: Partial<AlarmRecord> = {}): AlarmRecord =>
    ({ id, twin: of, priority: "high", active: true, acked: true, confirmed: true, latched: false, told: true, ...more }) as AlarmRecord;
  const book = [
    alarm("a", "pump"), alarm("b", "pump", { active: false, latched: true, acked: false }), alarm("c", "station", { told: false }),
    alarm("d", "t1"), alarm("e", "t2", { priority: "low" }), alarm("f", "t2", { priority: "journal" }), alarm("g", "net"),
  ];
  const ofTwin = countUp(book, wholes(PLANT));
  const counts = Object.fromEntries(areasOf(PLANT).map((a) => [a.id, countsOfArea(a, ofTwin, book)]));
  expect(counts["station"]).toMatchObject({ active: { high: 2 }, unacknowledged: { high: 1 }, silent: 1, open: 2 });
  expect(counts["kind:Tank"]).toMatchObject({ active: { high: 1, low: 1 }, open: 2 });
  const [net] = areasOf({ ...PLANT, overview: [{ point: 3, name: "K", normal: null, target: null }] });
  expect(countsOfArea(net!, ofTwin, book).open).toBe(1);
  expect(blindOfArea(areasOf(PLANT)[0]!, new Map([["t1", 2], ["t2", 1], ["net", 5]]))).toBe(3);
});

test("an alarm that is not in the book is as usual, whatever it was when all were listed", () => {
  const shelved = { id: "a", state: "shelved", active: true, acked: false, told: false, shelf: "timed" } as AlarmRecord;
  expect(asNow([shelved], new Map())[0]).toMatchObject({ state: "normal", active: false, acked: true, told: true, shelf: "" });
  expect(asNow([shelved], new Map([["a", { ...shelved, state: "active" }]]))[0]!.state).toBe("active");
});

test("the level is in the address, and each has one above it", () => {
  const deepest = placeOf(new URLSearchParams("area=station&twin=pump&level=4"));
  const up = [deepest, above(deepest), above(above(deepest)), above(above(above(deepest)))];
  expect(up.map(levelOf)).toEqual([4, 3, 2, 1]);
  expect(up.map((p) => Object.keys(wordsOf(p)).length)).toEqual([3, 2, 1, 0]);
});

test("a value's mark follows the highest active alarm of its point, and none that is silent, over or only predicted", () => {
  const of = (id: string, more: object): ReturnType<typeof alarm> => alarm(id, { point: "t.level", ...more });
  const medium = of("a", { priority: "medium", condition: "hihi 9.6" });
  expect(standingOf([of("b", { priority: "low" }), medium]).get("t.level")).toEqual({ priority: "medium", unacknowledged: true });
  expect(standingOf([{ ...medium, acked: true }, of("c", { priority: "medium" })]).get("t.level")?.unacknowledged).toBe(true);
  expect(standingOf([
    { ...medium, told: false }, { ...medium, active: false }, { ...medium, priority: "journal" }, of("d", { condition: "predicted t.level<1" }),
  ]).size).toBe(0);
});
