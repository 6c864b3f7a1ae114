// What happened while trends ran: alarms and commands as signs on the time axis; must not know how they are drawn.
import type { AlarmStep, CommandRecord } from "../wire";

export type Sign = "came" | "cleared" | "command";
export interface Happening {
  id: string;
  /** ms since 1970. */
  time: number;
  sign: Sign;
  twin: string;
  words: string;
  detail: string;
}
/** Happenings that would lie on one another stand as one sign. */
export interface Mark {
  /** Pixels from the left. */
  x: number;
  sign: Sign | "several";
  happenings: Happening[];
}

export const SIGN_NAMES: Record<Sign, string> = { came: "▼ alarm came", cleared: "△ alarm cleared", command: "◆ command" };

/** Of the twins that are shown, oldest first. */
export function happenings(
  steps: readonly AlarmStep[],
  commands: readonly CommandRecord[],
  twins: ReadonlySet<string>,
  [from, to]: readonly [number, number],
): Happening[] {
  const alarms = steps
    .filter((s) => (s.step === "active" || s.step === "cleared") && twins.has(s.twin))
    .map((s): Happening => ({
      id: `alarm-${s.n}`, time: s.time, sign: s.step === "active" ? "came" : "cleared", twin: s.twin,
      words: s.alarm, detail: s.priority,
    }));
  const sent = commands
    .filter((c) => twins.has(twinOf(c.point)))
    .map((c): Happening => ({
      id: `command-${c.id}`, time: effectOf(c), sign: "command", twin: twinOf(c.point),
      words: `${c.point} = ${c.value}`, detail: `${c.status}, ${c.author}`,
    }));
  return [...alarms, ...sent].filter((h) => h.time >= from && h.time <= to).toSorted((a, b) => a.time - b.time);
}

/** When it went to the device, what was given long before that included; of one that never went, when it was given. */
function effectOf({ transitions }: CommandRecord): number {
  return (transitions.find((t) => t.status === "SENT") ?? transitions[0])?.time ?? 0;
}

function twinOf(point: string): string {
  return point.slice(0, point.lastIndexOf("."));
}

/** Signs for a chart `width` pixels wide, none nearer to another than `apart`. */
export function marksOf(found: readonly Happening[], [from, to]: readonly [number, number], width: number, apart: number): Mark[] {
  const marks: Mark[] = [];
  for (const happening of found) {
    const x = ((happening.time - from) / (to - from)) * width;
    const last = marks.at(-1);
    if (last && x - last.x < apart) {
      last.happenings.push(happening);
      if (last.sign !== happening.sign) last.sign = "several";
    } else marks.push({ x, sign: happening.sign, happenings: [happening] });
  }
  return marks;
}
