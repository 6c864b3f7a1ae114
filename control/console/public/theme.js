// Runs before anything is drawn, so that nobody who chose dark sees a light flash. The rest is in src/theme.svelte.ts.
(() => {
  let choice = null;
  try {
    choice = localStorage.getItem("twinloop.theme");
  } catch {
    // Storage is switched off: as the system.
  }
  const dark = choice === "dark" || (choice !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  document.documentElement.style.colorScheme = dark ? "dark" : "light";
})();
