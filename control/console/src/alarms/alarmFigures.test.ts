import { describe, expect, it } from "vitest";
import { floodSpans, rates, statisticsCsv, tiles } from "./alarmFigures";
import type { AlarmStatistics } from "../wire";

const FOUND: AlarmStatistics = {
  start: 0, end: 1_200_000, operators: 1, watched_s: 1200, count: 14, mean_10min: 7, per_hour: 42, per_day: 1008, most_10min: 13, over_10min: 0.5,
  in_flood: 0.25, level: "stable", to_ack_s: 90, top_share: 1,
  priorities: [{ priority: "high", configured: 1, configured_share: 0.5, rang: 14, rang_share: 1, wanted_share: 0.05 }],
  floods: [{ start: 300_000, end: null, count: 13 }], top: [{ alarm: "=a,b", count: 14, share: 1 }], chattering: [], fleeting: [],
  standing: [], per_window: [1, 13],
};

describe("figures of the alarm system", () => {
  it("stand beside their targets", () => {
    const kept = new Map(tiles(FOUND).map((t) => [t.id, t.kept]));
    expect([kept.get("mean"), kept.get("most"), kept.get("flood"), kept.get("standing"), kept.get("ack")]).toEqual([false, false, false, true, null]);
    const toAck = (s: number | null): string => tiles({ ...FOUND, to_ack_s: s }).find((t) => t.id === "ack")!.value;
    expect([null, 4.3, 90, 9000].map(toAck)).toEqual(["nobody did", "4.3 s", "1 min", "2 h 30"]);
  });

  it("are drawn in the middle of their ten minutes, with the flood that goes on", () => {
    expect(rates(FOUND)).toEqual([[300, 900], [1, 13]]);
    expect(rates({ ...FOUND, per_window: [null, 13] })[1]).toEqual([null, 13]);
    expect(floodSpans(FOUND)).toEqual([[300, 1200]]);
  });

  it("are saved as CSV that no spreadsheet takes for formulas", () => {
    const lines = statisticsCsv(FOUND).split("\r\n");
    expect(lines).toContain(`top,"'=a,b",14,1`);
    expect(lines).toContain("per 10 min,1970-01-01T00:10:00.000Z,13,");
    expect(statisticsCsv({ ...FOUND, per_window: [null, 13] })).toContain("per 10 min,1970-01-01T00:00:00.000Z,not watched,");
    expect(lines).toContain("flood,1970-01-01T00:05:00.000Z,goes on,13");
  });
});
