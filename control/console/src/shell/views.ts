// Which component shows which view: those that an operator needs at once, and those that are fetched after the start.
import type { Component } from "svelte";
import type { View } from "./route.svelte";
import AlarmsView from "../alarms/AlarmsView.svelte";
import CommandsView from "../commands/CommandsView.svelte";
import PlantView from "../plant/PlantView.svelte";

export const VIEWS_NOW: Partial<Record<View, Component>> = { plant: PlantView, alarms: AlarmsView, commands: CommandsView };

export const VIEWS_LATER: Partial<Record<View, () => Promise<{ default: Component }>>> = {
  overview: () => import("../overview/OverviewView.svelte"),
  trends: () => import("../trend/TrendsView.svelte"),
  whatif: () => import("../whatif/WhatIfView.svelte"),
  ahead: () => import("../ahead/AheadView.svelte"),
  models: () => import("../models/ModelsView.svelte"),
  travel: () => import("../travel/TravelView.svelte"),
  audit: () => import("../audit/AuditView.svelte"),
  operations: () => import("../operations/OperationsView.svelte"),
};

export type Loaded = Partial<Record<View, { view: Component | undefined; failed: boolean }>>;
