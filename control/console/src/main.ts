import { mount } from "svelte";
import App from "./App.svelte";
import { session } from "./session.svelte";
import "uplot/dist/uPlot.min.css";
import "./style/base.css";
import "./style/controls.css";

const target = document.getElementById("app");
if (target === null) throw new Error("index.html has no #app");
mount(App, { target });
void session.start();
