// Areas and figures of the overview (ISA-101, levels 1 to 4) and where an analog bar's parts lie; must not know components.
import { type AlarmCounts, added, countsOf, predictedOf, rank } from "../alarms/alarms";
import { isLarge } from "../plant/drawing";
import { partsOf } from "../plant/partOf";
import type { AlarmRecord, KpiInfo, PlantInfo, PointInfo, TwinInfo } from "../wire";

/** Figures of an area or a twin for which the plant names none. */
const KPIS_MOST = 4;
const KIND = "kind:";

export interface Figure {
  point: PointInfo;
  name: string;
  normal: readonly [number, number] | null;
  target: number | null;
}

export interface Limit {
  word: "lolo" | "lo" | "hi" | "hihi";
  value: number;
  alarm: string;
}

/** `id`: of the twin that holds it, or `kind:` and what its twins are called. */
export interface Area {
  id: string;
  name: string;
  twins: TwinInfo[];
  /** The twin that holds them, null for a kind. */
  unit: TwinInfo | null;
  figures: Figure[];
}

/**
 * The areas of a plant: what holds others within the whole, then the rest by kind. A figure belongs to the area that has
 * its twin; one of the whole itself makes an area of its own, the first.
 */
export function areasOf(plant: PlantInfo): Area[] {
  const parts = partsOf(plant);
  const held = new Set([...parts.values()].flatMap((of) => of.map((t) => t.id)));
  const own = new Set([...plant.devices.map((d) => d.id), ...plant.servings.map((s) => s.id)]);
  const tops = plant.twins.filter((t) => !held.has(t.id) && !own.has(t.id) && !t.interface.startsWith("dtmi:twinloop:Learned"));
  // One twin that holds everything is the plant itself: its parts are the areas.
  const whole = tops.length === 1 && parts.has(tops[0]!.id) ? tops[0]! : null;
  const children = whole ? parts.get(whole.id)! : tops;
  const units = children.filter((t) => parts.has(t.id));
  const kinds = new Map<string, TwinInfo[]>();
  for (const t of children.filter((child) => !parts.has(child.id))) kinds.set(t.kind_name, [...(kinds.get(t.kind_name) ?? []), t]);
  const areas: Area[] = [
    ...(whole ? [{ id: whole.id, name: whole.name, twins: [whole], unit: whole, figures: [] }] : []),
    ...units.map((unit) => ({ id: unit.id, name: unit.name, twins: [unit, ...below(unit.id, parts)], unit, figures: [] })),
    ...[...kinds].map(([kind, twins]) => ({ id: KIND + kind, name: kind, twins, unit: null, figures: [] })),
  ];
  const named = new Set(plant.overview.map((k) => k.point));
  const found = areas.map((area) => ({ ...area, figures: figuresOf(plant, area.twins.map((t) => t.id), KPIS_MOST, named.size === 0) }));
  // The plant as a whole has a place of its own only where it says something.
  return found.filter((a) => a.unit !== whole || whole === null || a.figures.length > 0).sort((a, b) => Number(b.figures.length > 0) - Number(a.figures.length > 0));
}

function below(id: string, parts: Map<string, TwinInfo[]>): TwinInfo[] {
  return (parts.get(id) ?? []).flatMap((t) => [t, ...below(t.id, parts)]);
}

/** What the plant names of these twins; of a plant that names none (`guess`), what their large marks show. */
export function figuresOf(plant: PlantInfo, twins: readonly string[], most: number, guess: boolean): Figure[] {
  const among = new Set(twins);
  const pointOfId = new Map(plant.points.map((p) => [p.id, p]));
  const said = plant.overview.flatMap((k) => figureOf(k, pointOfId.get(k.point))).filter((f) => among.has(f.point.twin));
  if (said.length > 0 || !guess) return said;
  return plant.twins
    .filter((t) => among.has(t.id) && t.mark !== null && isLarge(t.mark.shape))
    .flatMap((t) => plainFigure(pointOfId.get(t.mark!.point ?? -1)))
    .slice(0, most);
}

/** What tells of one twin at a glance: its named figures, else what its mark shows, else its first numbers. */
export function figuresOfTwin(plant: PlantInfo, twin: TwinInfo, most = 2): Figure[] {
  const named = figuresOf(plant, [twin.id], most, false);
  if (named.length > 0) return named;
  const points = plant.points.filter((p) => p.twin === twin.id);
  const shown = points.filter((p) => p.id === twin.mark?.point);
  const rest = points.filter((p) => p.id !== twin.mark?.point && !p.writable && p.type === "double");
  return [...shown, ...rest].slice(0, most).map((point) => ({ point, name: "", normal: null, target: null }));
}

function figureOf(kpi: KpiInfo, point: PointInfo | undefined): Figure[] {
  if (!point) return [];
  const normal = kpi.normal === null ? null : ([kpi.normal[0]!, kpi.normal[1]!] as const);
  return [{ point, name: kpi.name, normal, target: kpi.target }];
}

function plainFigure(point: PointInfo | undefined): Figure[] {
  return point && (point.type === "double" || point.type === "integer") ? [{ point, name: "", normal: null, target: null }] : [];
}

const LIMIT = /^(lolo|lo|hi|hihi) (-?[\d.e+-]+)$/;

/** Limits of alarms by point, as their conditions say them. */
export function limitsOf(alarms: readonly AlarmRecord[]): Map<string, Limit[]> {
  const limits = new Map<string, Limit[]>();
  for (const a of alarms) {
    const said = LIMIT.exec(a.condition);
    if (!said) continue;
    const limit: Limit = { word: said[1] as Limit["word"], value: Number(said[2]), alarm: a.id };
    limits.set(a.point, [...(limits.get(a.point) ?? []), limit].sort((x, y) => x.value - y.value));
  }
  return limits;
}

/** With its unit where it is a limit of the value. */
export const conditionWords = (a: AlarmRecord): string => (LIMIT.test(a.condition) ? `${a.condition} ${a.unit}`.trim() : a.condition);

/** The worst limit that a value has passed, of those whose alarm nothing keeps silent: a stopped pump has no flow. */
export function passed(value: number, limits: readonly Limit[], silent: ReadonlySet<string>): Limit["word"] | "" {
  const over = limits.filter((l) => !silent.has(l.alarm)).filter((l) => (l.word.startsWith("hi") ? value > l.value : value < l.value)).map((l) => l.word);
  return over.find((w) => w === "hihi" || w === "lolo") ?? over[0] ?? "";
}

/** What the mark of a value says of an alarm: as the alarm's own sign does. */
export interface Standing {
  priority: string;
  unacknowledged: boolean;
}

/** Of each point the highest alarm that is active and told. One of a prediction says nothing of the value that is. */
export function standingOf(alarms: Iterable<AlarmRecord>): Map<string, Standing> {
  const found = new Map<string, Standing>();
  for (const a of alarms) {
    if (!a.active || !a.told || a.priority === "journal" || predictedOf(a) !== "") continue;
    const so = found.get(a.point);
    const higher = rank(a.priority) - rank(so?.priority ?? "");
    if (higher > 0) found.set(a.point, { priority: a.priority, unacknowledged: !a.acked });
    else if (higher === 0 && so && !a.acked) so.unacknowledged = true;
  }
  return found;
}

export interface Scale {
  low: number;
  high: number;
}

/**
 * From where to where a bar goes: a fifth beyond what matters (normal, limits, target), within the point's own range;
 * the range itself where nothing is said; null where nobody knows.
 */
export function scaleOf(figure: Figure, limits: readonly Limit[]): Scale | null {
  const { low, high } = figure.point;
  const said = [...(figure.normal ?? []), ...limits.map((l) => l.value), ...(figure.target === null ? [] : [figure.target])];
  const [least, most] = [Math.min(...said), Math.max(...said)];
  if (said.length >= 2 && most > least) {
    const margin = (most - least) / 5;
    return { low: Math.max(low ?? -Infinity, least - margin), high: Math.min(high ?? Infinity, most + margin) };
  }
  return low !== null && high !== null && high > low ? { low, high } : null;
}

/** Where a value stands on its bar, 0 … 1; what is beyond stands at the end. */
export const placeOn = (scale: Scale, value: number): number => Math.min(1, Math.max(0, (value - scale.low) / (scale.high - scale.low)));

/** Of every alarm how it stands: those that are not in the book are as usual. */
export function asNow(alarms: readonly AlarmRecord[], book: ReadonlyMap<string, AlarmRecord>): AlarmRecord[] {
  return alarms.map((a) => book.get(a.id) ?? { ...a, ...USUAL });
}

const USUAL = {
  state: "normal", active: false, acked: true, confirmed: true, latched: false, first_out: false, told: true, shelf: "", until: null,
  suppressed: false, designed: false, out_of_service: false,
};

/**
 * Alarms of some twins. A twin's count has its parts in it, so that a unit is one count and a kind many; the plant itself
 * counts here without its parts.
 */
export function countsOfArea(area: Area, ofTwin: ReadonlyMap<string, AlarmCounts>, book: Iterable<AlarmRecord>): AlarmCounts {
  if (area.unit !== null && area.twins.length === 1) return countsOf([...book].filter((a) => a.twin === area.unit!.id));
  const counts = (area.unit ? [area.unit] : area.twins).flatMap((t) => ofTwin.get(t.id) ?? []);
  return counts.reduce(added, countsOf([]));
}

/** Of how many alarms of an area nobody can tell whether they hold. */
export function blindOfArea(area: Area, ofTwin: ReadonlyMap<string, number>): number {
  return (area.unit ? [area.unit] : area.twins).reduce((sum, t) => sum + (ofTwin.get(t.id) ?? 0), 0);
}

// --- where one is ----------------------------------------------------------------------------------------------------

export interface Place {
  area: string;
  twin: string;
  support: boolean;
}

export function placeOf(query: URLSearchParams): Place {
  return { area: query.get("area") ?? "", twin: query.get("twin") ?? "", support: query.get("level") === "4" };
}

export function wordsOf(place: Place): Record<string, string> {
  return { ...(place.area ? { area: place.area } : {}), ...(place.twin ? { twin: place.twin } : {}), ...(place.support ? { level: "4" } : {}) };
}

export const levelOf = (place: Place): 1 | 2 | 3 | 4 => (!place.twin ? (place.area ? 2 : 1) : place.support ? 4 : 3);

/** One level up; the first has none above it. */
export function above(place: Place): Place {
  if (place.twin && place.support) return { ...place, support: false };
  if (place.twin && place.area) return { ...place, twin: "" };
  return { area: "", twin: "", support: false };
}
