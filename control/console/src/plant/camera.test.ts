import { expect, test } from "vitest";
import { ARROWS, centred, Drag, nearest, panned, zoomed } from "./camera";

const camera = { scale: 2, x: 10, y: 20 };

test("what is under the pointer stays there while it is zoomed, within the limits", () => {
  const near = zoomed(camera, 2, { x: 50, y: 60 }, [1, 10]);
  const place = (c: typeof camera): number[] => [(50 - c.x) / c.scale, (60 - c.y) / c.scale];
  expect(near.scale).toBe(4);
  expect(place(near)).toEqual(place(camera));
  expect([zoomed(camera, 100, { x: 0, y: 0 }, [1, 10]).scale, zoomed(camera, 0.01, { x: 0, y: 0 }, [1, 10]).scale]).toEqual([10, 1]);
});

test("a place is put in the middle, and moved", () => {
  const middle = centred({ x: 7, y: 3 }, 4, 100, 50);
  expect([7 * middle.scale + middle.x, 3 * middle.scale + middle.y]).toEqual([50, 25]);
  expect(panned(camera, 3, -4)).toEqual({ scale: 2, x: 13, y: 16 });
});

test("an arrow goes to the nearest in its direction, rather ahead than aside", () => {
  const spots = [{ x: 0, y: 0 }, { x: 10, y: 6 }, { x: 15, y: 0 }, { x: -5, y: 0 }];
  const to = (key: string): object | undefined => nearest(spots, (s) => s, spots[0]!, ARROWS[key]!);
  expect(to("ArrowRight")).toBe(spots[2]);
  expect(to("ArrowLeft")).toBe(spots[3]);
  expect(to("ArrowDown")).toBe(spots[1]);
  expect(to("ArrowUp")).toBeUndefined();
});

test("a hand that trembles clicks; one that moves drags and clicks nothing", () => {
  const drag = new Drag();
  expect([drag.move({ x: 9, y: 9 }), drag.end()]).toEqual([null, false]);
  drag.start({ x: 0, y: 0 });
  expect([drag.move({ x: 2, y: 2 }), drag.end()]).toEqual([null, true]);
  drag.start({ x: 0, y: 0 });
  expect(drag.move({ x: 6, y: 0 })).toEqual({ dx: 6, dy: 0, begun: true });
  expect(drag.move({ x: 7, y: 1 })).toEqual({ dx: 1, dy: 1, begun: false });
  expect(drag.end()).toBe(false);
});
