// Light, dark or as the system; kept in this browser. `public/theme.js` does the same before the first drawing.

export const THEMES = [
  { theme: "system", label: "as the system" },
  { theme: "light", label: "light" },
  { theme: "dark", label: "dark" },
] as const;
export type ThemeChoice = (typeof THEMES)[number]["theme"];

const KEY = "twinloop.theme";
const system = window.matchMedia("(prefers-color-scheme: dark)");

class Theme {
  choice = $state<ThemeChoice>(kept());

  constructor() {
    system.addEventListener("change", () => this.apply());
  }

  choose(choice: ThemeChoice): void {
    this.choice = choice;
    try {
      localStorage.setItem(KEY, choice);
    } catch {
      // Storage is switched off: it lasts as long as the page.
    }
    this.apply();
  }

  private apply(): void {
    const dark = this.choice === "dark" || (this.choice === "system" && system.matches);
    const root = document.documentElement;
    root.dataset.theme = dark ? "dark" : "light";
    root.style.colorScheme = dark ? "dark" : "light";
  }
}

function kept(): ThemeChoice {
  try {
    return THEMES.find((t) => t.theme === localStorage.getItem(KEY))?.theme ?? "system";
  } catch {
    return "system";
  }
}

export const theme = new Theme();
