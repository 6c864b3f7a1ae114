import { expect, test } from "vitest";
import { bytesWords, folderMistake, linkRows, queueState } from "./operating";
import { PointTable } from "../live/points";
import type { PlantInfo, PointInfo } from "../wire";

const point = (id: number, name: string, device: string): PointInfo => ({ id, name, device, type: "double" }) as PointInfo;

test("a link counts the points that were heard lately, and takes its figures from its own twin", () => {
  const points = [point(0, "a.x", "plc"), point(1, "a.y", "plc"), point(2, "plc.lag", ""), point(3, "plc.reconnects", "")];
  const table = new PointTable(points);
  table.value.set([1, 2, 12.5, 3]);
  table.received.set([99_000, 10_000, 0, 0]);
  const plant = { points, devices: [{ id: "plc", protocol: "modbus", endpoint: "h:1" }] } as unknown as PlantInfo;
  const [row] = linkRows(plant, table, 100_000);
  expect(row).toEqual({
    device: "plc", protocol: "modbus", endpoint: "h:1", heard: 1, points: 2, lagMs: 12.5, reconnects: 3, rejected: 0, dropped: 0, queued: 0,
  });
});

test("a queue that lost something outranks one that fills", () => {
  const queue = { name: "q", waiting: 6, most: 10, lost: 0 };
  expect(queueState(queue)).toBe("filling");
  expect(queueState({ ...queue, lost: 1 })).toBe("lost");
  expect(queueState({ ...queue, waiting: 4 })).toBe("");
  expect(queueState({ ...queue, most: 0 })).toBe("");
});

test("bytes are told with the unit that fits", () => {
  expect([0, 999, 1_500, 230_000_000, 4.2e12].map(bytesWords)).toEqual(["0 B", "999 B", "1.5 kB", "230 MB", "4.2 TB"]);
});

test("a folder for a back-up begins at the root", () => {
  expect(folderMistake("/mnt/backup/today")).toBe("");
  expect(folderMistake("backup")).toContain("from / on");
});
