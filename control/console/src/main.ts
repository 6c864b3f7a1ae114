import { mount } from "svelte";
import App from "./App.svelte";
import { cost } from "./live/cost";
import { session } from "./live/session.svelte";
import "uplot/dist/uPlot.min.css";
import "./style/base.css";
import "./style/controls.css";

const target = document.getElementById("app");
if (target === null) throw new Error("index.html has no #app");
// Measured by tests/bench/console_decode.py, and by whoever wonders in the browser's own console.
Object.assign(globalThis, { twinloopCost: cost });
mount(App, { target });
void session.start();
