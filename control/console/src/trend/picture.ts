// The charts of a page as one picture; must not know what they show.
import { colour } from "../chart/chart";

const TITLE_PX = 26;
const FONT = '13px system-ui, "Segoe UI", "DejaVu Sans", sans-serif';

export interface Drawn {
  title: string;
  canvas: HTMLCanvasElement;
}

/** One below the other, each with its title, on the ground of the theme. */
export async function pictureOf(charts: readonly Drawn[], foot: string): Promise<Blob | null> {
  const ratio = window.devicePixelRatio;
  const line = TITLE_PX * ratio;
  const sheet = document.createElement("canvas");
  sheet.width = Math.max(...charts.map((c) => c.canvas.width));
  sheet.height = charts.reduce((height, c) => height + line + c.canvas.height, line);
  const context = sheet.getContext("2d");
  if (context === null) return null;
  context.fillStyle = colour("surface");
  context.fillRect(0, 0, sheet.width, sheet.height);
  let y = 0;
  for (const { title, canvas } of charts) {
    write(title, y);
    context.drawImage(canvas, 0, y + line);
    y += line + canvas.height;
  }
  write(foot, y);
  return new Promise((done) => sheet.toBlob(done, "image/png"));

  function write(text: string, top: number): void {
    context!.save();
    context!.scale(ratio, ratio);
    context!.fillStyle = colour("ink");
    context!.font = FONT;
    context!.fillText(text, 8, top / ratio + 18);
    context!.restore();
  }
}
