// Which keys do what where, for the map that `?` shows, and when a key is not the view's; must not know components.
import type { View } from "./route.svelte";

export interface KeyRow {
  keys: string;
  does: string;
}

export const EVERYWHERE: readonly KeyRow[] = [
  { keys: "v", does: "saved views" },
  { keys: "?", does: "this map, light and dark" },
  { keys: "Tab, Shift Tab", does: "to the next and the previous control" },
  { keys: "Escape", does: "close what is open; take back an emergency stop that is not confirmed" },
];

const OF_VIEW: Partial<Record<View, readonly KeyRow[]>> = {
  plant: [
    { keys: "arrows", does: "to the next twin in that direction; with Shift: move the drawing" },
    { keys: "Enter, Space", does: "choose the twin" },
    { keys: "+  −  0", does: "zoom in, out, show all" },
    { keys: "Escape", does: "choose nothing; empty the search" },
  ],
  trends: [
    { keys: "← →", does: "in the charts: earlier, later" },
    { keys: "+  −", does: "zoom in, out; also by wheel, and by drag" },
    { keys: "Backspace", does: "what was shown before" },
  ],
};

export function keysOf(view: View): readonly KeyRow[] {
  return OF_VIEW[view] ?? [];
}

/** What has keys of its own. */
const DIALOG = '[role="dialog"], :popover-open';
/** What keeps keys from the view under it. A stop that was given only reports: nobody is kept from the plant by it. */
const OPEN = '[role="dialog"]:not([data-at="given"]), :popover-open';
const FIELDS = "input:not([type=range], [type=checkbox], [type=radio]), textarea, select";

/** Whether a key is meant for a field, for what lies open, or with a modifier for the browser. */
export function isTaken(event: KeyboardEvent): boolean {
  const target = event.target as HTMLElement;
  if (event.defaultPrevented || event.ctrlKey || event.altKey || event.metaKey) return true;
  return target.matches(FIELDS) || target.closest(DIALOG) !== null || target.ownerDocument.querySelector(OPEN) !== null;
}
