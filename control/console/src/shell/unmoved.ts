// A click on what moved under the hand is nobody's decision; must not know what is listed.

/** Less than a hand needs to see that something moved, more than it needs to end a click that was begun. */
const SETTLE_MS = 300;

const CAPTURE = { capture: true };

/**
 * Svelte action for a list with buttons: `order` says what stands where. While it is pointed at, a click right after a
 * change goes nowhere. Keys go to what has the focus, which moves along, so they always count.
 */
export function unmoved(list: HTMLElement, order: string): { update(order: string): void; destroy(): void } {
  let known = order;
  let pointed = false;
  let moved = -Infinity;
  const enter = (): void => void (pointed = true);
  const leave = (): void => void (pointed = false);
  const click = (event: MouseEvent): void => {
    if (event.detail === 0 || performance.now() - moved >= SETTLE_MS) return;
    event.preventDefault();
    event.stopPropagation();
  };
  list.addEventListener("pointerenter", enter);
  list.addEventListener("pointerleave", leave);
  list.addEventListener("click", click, CAPTURE);
  return {
    update(order: string): void {
      if (order !== known && pointed) moved = performance.now();
      known = order;
    },
    destroy(): void {
      list.removeEventListener("pointerenter", enter);
      list.removeEventListener("pointerleave", leave);
      list.removeEventListener("click", click, CAPTURE);
    },
  };
}
