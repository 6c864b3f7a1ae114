// Links, queues and sizes in words and numbers; must not know how they are fetched or shown.
import { VALUE_STALE_MS } from "../live/freshness";
import type { PointTable } from "../live/points";
import type { PlantInfo, QueueInfo } from "../wire";

export interface LinkRow {
  device: string;
  protocol: string;
  endpoint: string;
  /** Points of it that were heard lately, of all. */
  heard: number;
  points: number;
  lagMs: number | null;
  reconnects: number;
  rejected: number;
  dropped: number;
  queued: number;
}

export function linkRows(plant: PlantInfo, table: PointTable, now: number): LinkRow[] {
  const figure = (name: string): number | null => {
    const id = table.id(name);
    const value = id === undefined ? NaN : table.value[id]!;
    return Number.isNaN(value) ? null : value;
  };
  return plant.devices.map(({ id, protocol, endpoint }) => {
    const points = plant.points.filter((p) => p.device === id);
    return {
      device: id, protocol, endpoint, points: points.length,
      heard: points.filter((p) => now - table.heard(p.id) <= VALUE_STALE_MS).length,
      lagMs: figure(`${id}.lag`), reconnects: figure(`${id}.reconnects`) ?? 0, rejected: figure(`${id}.rejected`) ?? 0,
      dropped: figure(`${id}.dropped`) ?? 0, queued: figure(`${id}.queued`) ?? 0,
    };
  });
}

/** Whether somebody should look: it lost something, or it is half full. */
export function queueState({ waiting, most, lost }: QueueInfo): "" | "filling" | "lost" {
  if (lost > 0) return "lost";
  return most > 0 && waiting >= most / 2 ? "filling" : "";
}

const UNITS = ["B", "kB", "MB", "GB", "TB"];

export function bytesWords(bytes: number): string {
  const power = bytes < 1 ? 0 : Math.min(UNITS.length - 1, Math.floor(Math.log10(bytes) / 3));
  const value = bytes / 1000 ** power;
  return `${power === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${UNITS[power]}`;
}

export const TIER_NAMES: Record<string, string> = { raw: "raw readings", "1s": "per second", "1min": "per minute", "1h": "per hour" };

/** A folder for a back-up beside the data is a good guess nowhere: only its shape can be told. */
export function folderMistake(folder: string): string {
  return folder.startsWith("/") && folder.length > 1 ? "" : "Name a new folder on the server's machine, from / on.";
}
