// How far back views look: one table, of which each view offers some.

const ALL = {
  "5m": { name: "5 min", seconds: 300 },
  "10m": { name: "10 min", seconds: 600 },
  "15m": { name: "15 min", seconds: 900 },
  "1h": { name: "1 h", seconds: 3_600 },
  "8h": { name: "8 h", seconds: 28_800 },
  "24h": { name: "24 h", seconds: 86_400 },
  "7d": { name: "7 d", seconds: 604_800 },
  "30d": { name: "30 d", seconds: 2_592_000 },
} as const;

/** As the server reads it, too. */
export type RangeKey = keyof typeof ALL;

export interface Range {
  key: RangeKey;
  name: string;
  seconds: number;
}

export function rangesOf(...keys: RangeKey[]): Range[] {
  return keys.map((key) => ({ key, ...ALL[key] }));
}
