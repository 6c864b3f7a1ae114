import { expect, test } from "vitest";
import { worstThen } from "./alarmsThen";
import type { PastAlarm } from "../wire";

const alarm = (twin: string, priority: string, acked: boolean, silent = false): PastAlarm =>
  ({ alarm: `${twin}.x:hi`, twin, point: `${twin}.x`, priority, acked, silent, since: 0, value: null });

test("a twin carries the worst alarm of itself and its parts at that moment", () => {
  const found = worstThen(
    [alarm("pump", "low", false), alarm("tank", "high", true), alarm("tank", "high", false), alarm("tank", "medium", false),
      alarm("other", "high", false, true)], // shelved: nobody was told
    new Map([["tank", "plant"], ["pump", "plant"], ["plant", "tank"]]), // a circle is no endless climb
  );
  expect(found.get("plant")).toEqual({ priority: "high", unacknowledged: true });
  expect(found.get("pump")).toEqual({ priority: "low", unacknowledged: true });
  expect(found.get("other")).toBeUndefined();
});
