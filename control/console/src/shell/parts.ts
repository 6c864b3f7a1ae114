// Parts of the views that are there at once, which themselves are not: charts and proofs weigh a quarter of the first load.
export const alarmPerformance = () => import("../alarms/AlarmPerformance.svelte");
export const fanChart = () => import("../whatif/FanChart.svelte");
export const proofPanel = () => import("../audit/ProofPanel.svelte");

export const PARTS = [alarmPerformance, fanChart, proofPanel];
