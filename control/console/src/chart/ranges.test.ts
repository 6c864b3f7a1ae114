import { expect, test } from "vitest";
import { rangesOf } from "./ranges";

test("a range is called in the address as the server reads it, and lasts as long as it says", () => {
  const units: Record<string, number> = { m: 60, h: 3_600, d: 86_400 };
  for (const { key, name, seconds } of rangesOf("5m", "10m", "15m", "1h", "8h", "24h", "7d", "30d")) {
    expect(parseInt(key, 10) * units[key.slice(-1)]!).toBe(seconds);
    expect(name.replace(" ", "")).toContain(key);
  }
});
