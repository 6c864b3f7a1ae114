/// <reference types="vitest/config" />
import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";

// `npm run dev` shows the console of a server that runs on this machine.
const server = process.env.TWINLOOP_URL ?? "http://127.0.0.1:8080";

export default defineConfig({
  // Relative addresses: the same build works behind a reverse proxy's sub-path.
  base: "./",
  plugins: [svelte()],
  build: {
    outDir: "../api/static",
    emptyOutDir: true,
    target: "es2023",
    // The polyfill and inlined files would need exceptions in the content security policy.
    modulePreload: false,
    assetsInlineLimit: 0,
  },
  // Colours are tested as they stand in the stylesheet.
  test: { css: true },
  server: { proxy: { "/api": server, "/ws": { target: server, ws: true } } },
});
