import { expect, test } from "vitest";
import { ClockOffset, Look, lookOf, qualityWords, screenIsStale } from "./freshness";

const NOW = 1_000_000;

test("a good value turns stale after ten seconds", () => {
  expect(lookOf(0, NOW - 9_999, NOW, true)).toBe(Look.good);
  expect(lookOf(0, NOW - 10_001, NOW, true)).toBe(Look.stale);
});

test("a value that Twinloop computes itself does not age", () => {
  expect(lookOf(0, NOW - 3_600_000, NOW, false)).toBe(Look.good);
});

test("bad outranks uncertain outranks stale, and nothing received is no value", () => {
  expect(lookOf(0x80050000, NOW, NOW, true)).toBe(Look.bad);
  expect(lookOf(0xc0000000, NOW, NOW, true)).toBe(Look.bad);
  expect(lookOf(0x40900000, NOW - 60_000, NOW, true)).toBe(Look.uncertain);
  expect(lookOf(0, 0, NOW, true)).toBe(Look.none);
});

test("the screen is stale after two and a half silent seconds", () => {
  expect(screenIsStale(2_500)).toBe(false);
  expect(screenIsStale(2_501)).toBe(true);
});

test("qualities are said in words, unknown ones with their code", () => {
  expect(qualityWords(0x80050000 | 0)).toBe("bad: communication error");
  expect(qualityWords(0x40010000)).toBe("uncertain (0x40010000)");
});

test("a late heartbeat does not move the server's clock back", () => {
  const clock = new ClockOffset();
  clock.observe(5_000, 1_000);
  clock.observe(6_000, 2_800);
  expect(clock.offset).toBe(4_000);
});
