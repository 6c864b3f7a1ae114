import { expect, test } from "vitest";
import { Newest } from "./newest";

test("of two questions only the later one's answer counts, whichever comes first", () => {
  const newest = new Newest();
  const slow = newest.ask();
  expect(slow()).toBe(true);
  const fast = newest.ask();
  expect([slow(), fast()]).toEqual([false, true]);
});
