// What events do not tell is asked for again and again, as long as the screen is looked at and the server answers.
import { untrack } from "svelte";
import { repeated } from "./repeated";
import { session } from "./session.svelte";

/** For an effect: at once, with every connection anew, and every `everyMs`. What `ask` reads does not start it anew. */
export function polled(ask: () => Promise<unknown>, everyMs: number): () => void {
  void session.generation;
  const may = (): boolean => untrack(() => !session.stale) && document.visibilityState === "visible";
  return untrack(() => repeated(ask, everyMs, may));
}
