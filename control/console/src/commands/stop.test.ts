import { expect, test } from "vitest";
import { chosen, CONFIRM_MS, confirmed, elapsed, left, pressed, REST, TREMBLE_MS } from "./stop";
import type { StopInfo } from "../wire";

const pumps: StopInfo = { id: "pumps", name: "All pumps off", set: { "pump.status": 0 } };
const valves: StopInfo = { id: "valves", name: "Valves shut", set: { "valve.open": 0 } };

test("a press alone stops nothing: it must be confirmed", () => {
  const armed = pressed(REST, [pumps], 0);
  expect(armed).toEqual({ at: "armed", stop: pumps, since: 0 });
  expect(confirmed(armed, 1_000)).toEqual({ at: "given", stop: pumps });
});

test("a press that is not confirmed in time lapses", () => {
  const armed = pressed(REST, [pumps], 0);
  expect(left(armed, 4_000)).toBe(1_000);
  expect(elapsed(armed, CONFIRM_MS - 1)).toBe(armed);
  expect(elapsed(armed, CONFIRM_MS)).toEqual({ at: "lapsed" });
  expect(confirmed(armed, CONFIRM_MS)).toEqual({ at: "lapsed" });
});

test("a held key or a second tap of the same press confirms nothing", () => {
  const armed = pressed(REST, [pumps], 0);
  expect(confirmed(armed, TREMBLE_MS - 1)).toBe(armed);
  expect(pressed(armed, [pumps], 100)).toBe(armed);
});

test("of several stops one is chosen before it is armed", () => {
  expect(pressed(REST, [pumps, valves], 0)).toEqual({ at: "choice" });
  expect(chosen(valves, 5)).toEqual({ at: "armed", stop: valves, since: 5 });
});
