import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { repeated } from "./repeated";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test("one question at a time, none while it may not, and none after the end", async () => {
  let asked = 0;
  let may = true;
  let answer: () => void = () => undefined;
  const end = repeated(() => new Promise<void>((done) => { asked += 1; answer = done; }), 1_000, () => may);
  expect(asked).toBe(1);
  await vi.advanceTimersByTimeAsync(5_000);
  expect(asked).toBe(1);
  answer();
  await vi.advanceTimersByTimeAsync(1_000);
  expect(asked).toBe(2);
  answer();
  may = false;
  await vi.advanceTimersByTimeAsync(3_000);
  expect(asked).toBe(2);
  may = true;
  await vi.advanceTimersByTimeAsync(1_000);
  expect(asked).toBe(3);
  answer();
  end();
  await vi.advanceTimersByTimeAsync(3_000);
  expect(asked).toBe(3);
});

test("one that fails is asked again", async () => {
  let asked = 0;
  const end = repeated(() => Promise.reject(new Error(String((asked += 1)))), 1_000, () => true);
  await vi.advanceTimersByTimeAsync(2_000);
  expect(asked).toBe(3);
  end();
});
