import { afterEach, expect, test, vi } from "vitest";
import { unmoved } from "./unmoved";

afterEach(() => void vi.restoreAllMocks());

test("a click right after rows moved under the pointer goes nowhere", () => {
  const now = vi.spyOn(performance, "now").mockReturnValue(0);
  const list = new EventTarget();
  /** Whether it arrives. */
  const click = (detail = 1): boolean => list.dispatchEvent(Object.assign(new Event("click", { cancelable: true }), { detail }));
  const { update, destroy } = unmoved(list as HTMLElement, "a b");

  update("b a"); // nobody points at it
  expect(click()).toBe(true);
  list.dispatchEvent(new Event("pointerenter"));
  update("b a");
  expect(click()).toBe(true);

  update("c b a");
  now.mockReturnValue(299);
  expect(click()).toBe(false);
  expect(click(0)).toBe(true); // a key
  now.mockReturnValue(300);
  expect(click()).toBe(true);

  list.dispatchEvent(new Event("pointerleave"));
  update("a");
  expect(click()).toBe(true);
  list.dispatchEvent(new Event("pointerenter"));
  update("b");
  destroy();
  expect(click()).toBe(true);
});
