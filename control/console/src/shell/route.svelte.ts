// Which view is open, kept in the address (#/trends?points=a,b) so that it can be linked to.

/** In the order of the tabs, each with the key that opens it. */
export const VIEWS = [
  { view: "overview", label: "Overview", key: "o" },
  { view: "plant", label: "Plant", key: "1" },
  { view: "alarms", label: "Alarms", key: "7" },
  { view: "trends", label: "Trends", key: "2" },
  { view: "commands", label: "Commands", key: "3" },
  { view: "whatif", label: "What if", key: "4" },
  { view: "ahead", label: "Look-ahead", key: "6" },
  { view: "models", label: "Models", key: "m" },
  { view: "travel", label: "Time travel", key: "8" },
  { view: "audit", label: "Audit", key: "5" },
  { view: "operations", label: "Operations", key: "9" },
] as const;
export type View = (typeof VIEWS)[number]["view"];

/** What they show moves on by itself: they write the address, and read it when they open. */
const READS_ONCE = new Set<View>(["travel"]);

class Route {
  view = $state<View>("plant");
  query = $state.raw(new URLSearchParams());
  /** Grows when somebody goes to another address of a view that reads its own only once. */
  visits = $state(0);

  constructor() {
    window.addEventListener("hashchange", () => {
      const before = this.view;
      this.read();
      if (this.view === before && READS_ONCE.has(before)) this.visits += 1;
    });
    this.read();
  }

  open(view: View, query: Record<string, string> = {}): void {
    window.location.hash = address(view, query);
  }

  /** Notes a choice in the address without a new step in the browser's history. */
  note(query: Record<string, string>): void {
    this.query = new URLSearchParams(query);
    history.replaceState(null, "", address(this.view, query));
  }

  private read(): void {
    const [name, query] = window.location.hash.replace(/^#\/?/, "").split("?");
    this.view = VIEWS.find((row) => row.view === name)?.view ?? "plant";
    this.query = new URLSearchParams(query ?? "");
  }
}

function address(view: View, query: Record<string, string>): string {
  const words = new URLSearchParams(query).toString().replaceAll("%2C", ",");
  return `#/${view}${words === "" ? "" : `?${words}`}`;
}

export const route = new Route();
