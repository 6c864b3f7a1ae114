// The log's verifier key as this browser first saw it: another one later must be noticed; must not know proofs.
const KEPT = "twinloop.log-key";

/** Empty where none is kept, or the browser keeps nothing. */
export function rememberedKey(): string {
  try {
    return localStorage.getItem(KEPT) ?? "";
  } catch {
    return "";
  }
}

export function rememberKey(key: string): void {
  try {
    localStorage.setItem(KEPT, key);
  } catch {
    // A browser that keeps nothing sees every key for the first time, and says so.
  }
}

export function forgetKey(): void {
  localStorage.removeItem(KEPT);
}
