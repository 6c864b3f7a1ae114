// The charts of a page as one picture that can be read without the page; must not know what they show.
import { colour, seriesColour } from "../chart/chart";
import type { Legend } from "./pictureWords";

const LINE_PX = 20;
const EDGE_PX = 12;
const SAMPLE_PX = 30;
/** Narrower than this the title does not fit. */
const WIDTH_LEAST_PX = 640;
const FAMILY = 'system-ui, "Segoe UI", "DejaVu Sans", sans-serif';

export interface Drawn {
  legend: Legend;
  /** null where there was nothing to draw: then `empty` says why. */
  canvas: HTMLCanvasElement | null;
  empty: string;
}

/** One below another, each with its legend and the units of its scales, on the ground of the theme. */
export async function pictureOf(title: string, charts: readonly Drawn[], key: readonly string[]): Promise<Blob | null> {
  const ratio = window.devicePixelRatio;
  const width = Math.max(WIDTH_LEAST_PX, ...charts.map((c) => (c.canvas?.width ?? 0) / ratio));
  const sheet = document.createElement("canvas");
  const context = sheet.getContext("2d");
  if (context === null) return null;
  context.font = `12px ${FAMILY}`;
  const foot = wrapped(context, key, width - 2 * EDGE_PX);
  const heights = charts.map(({ legend, canvas }) => (legend.lines.length + 1) * LINE_PX + (canvas ? canvas.height / ratio : LINE_PX));
  const height = heights.reduce((sum, h) => sum + h + EDGE_PX, LINE_PX + 2 * EDGE_PX + foot.length * LINE_PX);
  sheet.width = Math.round(width * ratio);
  sheet.height = Math.round(height * ratio);
  context.scale(ratio, ratio);
  context.fillStyle = colour("surface");
  context.fillRect(0, 0, width, height);

  write(title, EDGE_PX, EDGE_PX, `600 14px ${FAMILY}`, "ink");
  let y = LINE_PX + EDGE_PX;
  charts.forEach(({ legend, canvas, empty }, n) => {
    let top = y + EDGE_PX / 2;
    for (const line of legend.lines) {
      sample(line.place, line.dash, top);
      write(line.words, EDGE_PX + SAMPLE_PX + 8, top, `13px ${FAMILY}`, "ink");
      top += LINE_PX;
    }
    if (canvas) {
      legend.units.forEach((unit, side) => write(unit, side === 0 ? EDGE_PX : canvas.width / ratio - EDGE_PX, top, `12px ${FAMILY}`, "ink-soft", side === 0 ? "left" : "right"));
      context.drawImage(canvas, 0, top + LINE_PX, canvas.width / ratio, canvas.height / ratio);
    } else write(empty, EDGE_PX, top, `13px ${FAMILY}`, "ink-soft");
    y += heights[n]! + EDGE_PX;
  });
  foot.forEach((line, n) => write(line, EDGE_PX, y + n * LINE_PX, `12px ${FAMILY}`, "ink-soft"));
  return new Promise((done) => sheet.toBlob(done, "image/png"));

  function write(text: string, left: number, top: number, font: string, ink: string, align: CanvasTextAlign = "left"): void {
    context!.font = font;
    context!.fillStyle = colour(ink);
    context!.textAlign = align;
    context!.fillText(text, left, top + 14);
  }

  /** As it is drawn: its colour and its dashes. */
  function sample(place: number, dash: readonly number[], top: number): void {
    context!.strokeStyle = seriesColour(place);
    context!.lineWidth = 2;
    context!.setLineDash([...dash]);
    context!.beginPath();
    context!.moveTo(EDGE_PX, top + LINE_PX / 2);
    context!.lineTo(EDGE_PX + SAMPLE_PX, top + LINE_PX / 2);
    context!.stroke();
    context!.setLineDash([]);
  }
}

/** The words in as many lines as they need, none of them broken. */
function wrapped(context: CanvasRenderingContext2D, words: readonly string[], width: number): string[] {
  const lines: string[] = [];
  for (const word of words) {
    const longer = lines.length > 0 ? `${lines.at(-1)}   ${word}` : word;
    if (lines.length > 0 && context.measureText(longer).width <= width) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines;
}
