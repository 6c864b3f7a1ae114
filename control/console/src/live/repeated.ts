// Asking again and again, one question at a time; must not know what is asked.

/** At once, then every `everyMs` while it may. A question that is still under way is not asked twice. Returns the end of it. */
export function repeated(ask: () => Promise<unknown>, everyMs: number, may: () => boolean): () => void {
  let asking = false;
  const once = (): void => {
    if (asking || !may()) return;
    asking = true;
    const done = (): void => void (asking = false);
    ask().then(done, done);
  };
  once();
  const timer = setInterval(once, everyMs);
  return () => clearInterval(timer);
}
