import { expect, test } from "vitest";
import { CourseQueue } from "./courseQueue";

test("a point in flight is not asked for again, and only so many are at once", () => {
  const queue = new CourseQueue(2, 1_000);
  for (const point of ["a", "a", "b", "c"]) queue.watch(point);
  expect(queue.take(0)).toEqual(["a", "b"]);
  queue.again();
  expect(queue.take(0)).toEqual([]);
  queue.answered("a");
  expect(queue.take(0)).toEqual(["c"]);
  queue.answered("b");
  queue.answered("c");
  expect(queue.take(0)).toEqual(["a", "b"]);
});

test("after a failure nothing is asked for until the pause is over, and what failed comes last", () => {
  const queue = new CourseQueue(1, 1_000);
  queue.watch("a");
  queue.watch("b");
  expect(queue.take(0)).toEqual(["a"]);
  queue.failed("a", 500);
  expect([queue.take(500), queue.take(1_499)]).toEqual([[], []]);
  expect(queue.take(1_500)).toEqual(["b"]);
  queue.answered("b");
  expect(queue.take(1_500)).toEqual(["a"]);
});

test("what nobody looks at any more is not asked for", () => {
  const queue = new CourseQueue(4, 1_000);
  for (const point of ["a", "a", "b"]) queue.watch(point);
  queue.leave("a");
  queue.leave("b");
  expect(queue.take(0)).toEqual(["a"]);
  queue.leave("a");
  queue.failed("a", 0);
  queue.again();
  expect(queue.take(2_000)).toEqual([]);
});
