import { expect, test } from "vitest";
import { worstThen } from "./alarmsThen";
import type { PastAlarm } from "../wire";

const alarm = (twin: string, priority: string, acked: boolean): PastAlarm =>
  ({ alarm: `${twin}.x:hi`, twin, priority, acked, since: 0, value: null }) as unknown as PastAlarm;

test("a twin carries the worst alarm of itself and its parts at that moment", () => {
  const found = worstThen(
    [alarm("pump", "low", false), alarm("tank", "high", true), alarm("tank", "high", false), alarm("tank", "medium", false)],
    new Map([["tank", "plant"], ["pump", "plant"], ["plant", "tank"]]), // a circle is no endless climb
  );
  expect(found.get("plant")).toEqual({ priority: "high", unacknowledged: true });
  expect(found.get("pump")).toEqual({ priority: "low", unacknowledged: true });
  expect(found.get("other")).toBeUndefined();
});
