// The legend as TwinMark.svelte knows it.
export { clipped } from "./legend";
