// Which component shows which view: those that an operator needs at once, and those that are fetched after the start.
import type { Component } from "svelte";
import type { View } from "./route.svelte";
import AlarmsView from "./views/AlarmsView.svelte";
import CommandsView from "./views/CommandsView.svelte";
import PlantView from "./views/PlantView.svelte";

export const VIEWS_NOW: Partial<Record<View, Component>> = { plant: PlantView, alarms: AlarmsView, commands: CommandsView };

export const VIEWS_LATER: Partial<Record<View, () => Promise<{ default: Component }>>> = {
  overview: () => import("./views/OverviewView.svelte"),
  trends: () => import("./views/TrendsView.svelte"),
  whatif: () => import("./views/WhatIfView.svelte"),
  ahead: () => import("./views/AheadView.svelte"),
  models: () => import("./views/ModelsView.svelte"),
  travel: () => import("./views/TravelView.svelte"),
  audit: () => import("./views/AuditView.svelte"),
  operations: () => import("./views/OperationsView.svelte"),
};

export type Loaded = Partial<Record<View, { view: Component | undefined; failed: boolean }>>;
