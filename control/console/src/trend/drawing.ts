// Draws signs, doubtful stretches and now onto a chart's canvas; must not know where they come from.
import type uPlot from "uplot";
import { colour } from "../chart/chart";
import type { Mark } from "./happenings";
import type { Doubt } from "./stretches";

const SIGN_PX = 5;
const STRIP_PX = 6;
/** Patterns of lines in one chart, so that colour is not the only cue. */
export const DASHES: readonly (readonly number[])[] = [[], [9, 4], [2, 3], [10, 3, 2, 3], [5, 3], [14, 4], [4, 2, 1, 2], [1, 5]];

type Ratio = number;

/** One strip at the foot of the plot for each line: slanted hatching is uncertain, crossed hatching bad. */
export function drawDoubts(chart: uPlot, lines: readonly (readonly Doubt[])[], ratio: Ratio): void {
  const { ctx, bbox } = chart;
  lines.forEach((doubts, place) => {
    const top = bbox.top + bbox.height - (place + 1) * (STRIP_PX + 1) * ratio;
    for (const doubt of doubts) {
      const left = Math.max(bbox.left, chart.valToPos(doubt.from, "x", true));
      const right = Math.min(bbox.left + bbox.width, chart.valToPos(doubt.to, "x", true));
      if (right <= left) continue;
      ctx.save();
      ctx.beginPath();
      ctx.rect(left, top, Math.max(right - left, 2 * ratio), STRIP_PX * ratio);
      ctx.clip();
      ctx.setLineDash([]);
      ctx.fillStyle = colour(doubt.severity === 1 ? "uncertain-soft" : "bad-soft");
      ctx.fillRect(left, top, right - left + 2 * ratio, STRIP_PX * ratio);
      ctx.strokeStyle = colour(doubt.severity === 1 ? "uncertain" : "bad");
      ctx.lineWidth = ratio;
      ctx.beginPath();
      for (let x = left - STRIP_PX * ratio; x < right; x += 5 * ratio) {
        ctx.moveTo(x, top + STRIP_PX * ratio);
        ctx.lineTo(x + STRIP_PX * ratio, top);
        if (doubt.severity === 1) continue;
        ctx.moveTo(x, top);
        ctx.lineTo(x + STRIP_PX * ratio, top + STRIP_PX * ratio);
      }
      ctx.stroke();
      ctx.restore();
    }
  });
}

/** Along the top: ▼ came, △ cleared, ◆ command, ■ several of them, each with a fine line down to the axis. */
export function drawMarks(chart: uPlot, marks: readonly Mark[], ratio: Ratio): void {
  const { ctx, bbox } = chart;
  const r = SIGN_PX * ratio;
  ctx.save();
  for (const mark of marks) {
    const x = bbox.left + mark.x * ratio;
    const y = bbox.top + r + ratio;
    ctx.strokeStyle = colour("line-strong");
    ctx.lineWidth = 0.75 * ratio;
    ctx.setLineDash([2 * ratio, 3 * ratio]);
    ctx.beginPath();
    ctx.moveTo(x, y + r);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    ctx.setLineDash([]);
    ctx.strokeStyle = ctx.fillStyle = colour("ink");
    ctx.lineWidth = 1.4 * ratio;
    ctx.beginPath();
    outline(ctx, mark.sign, x, y, r);
    ctx.closePath();
    if (mark.sign !== "cleared") ctx.fill();
    ctx.stroke();
  }
  ctx.restore();
}

function outline(ctx: CanvasRenderingContext2D, sign: Mark["sign"], x: number, y: number, r: number): void {
  const corners: Record<Mark["sign"], [number, number][]> = {
    came: [[-r, -r], [r, -r], [0, r]],
    cleared: [[-r, r], [r, r], [0, -r]],
    command: [[0, -r], [r, 0], [0, r], [-r, 0]],
    several: [[-r, -r], [r, -r], [r, r], [-r, r]],
  };
  corners[sign].forEach(([dx, dy], n) => (n === 0 ? ctx.moveTo(x + dx, y + dy) : ctx.lineTo(x + dx, y + dy)));
}

/** Where the future begins. */
export function drawNow(chart: uPlot, now: number, ratio: Ratio): void {
  const { ctx, bbox } = chart;
  const x = chart.valToPos(now, "x", true);
  if (x <= bbox.left || x >= bbox.left + bbox.width - 2) return;
  ctx.save();
  ctx.setLineDash([]);
  ctx.strokeStyle = colour("ink-soft");
  ctx.lineWidth = ratio;
  ctx.beginPath();
  ctx.moveTo(x, bbox.top);
  ctx.lineTo(x, bbox.top + bbox.height);
  ctx.stroke();
  ctx.fillStyle = colour("ink-soft");
  ctx.font = `${11 * ratio}px system-ui, "DejaVu Sans", sans-serif`;
  ctx.textAlign = "left";
  ctx.fillText("now", x + 3 * ratio, bbox.top + bbox.height - 10 * ratio);
  ctx.restore();
}
