// Which twins are part of which, by what the relationships of a plant are called; must not know values or alarms.
import type { PlantInfo, TwinInfo } from "../wire";

/** Relationships that say what a twin is made of; all others say what flows or belongs where. As twin/graph.py has it. */
const PART_OF = new Set(["contains", "hasPart", "parts"]);

export const isPartOf = ({ name }: { name: string }): boolean => PART_OF.has(name);

/** Twin -> the twin that it is part of. */
export function wholes(plant: PlantInfo): Map<string, string> {
  return new Map(plant.relationships.filter(isPartOf).map((r) => [r.target, r.source]));
}

/** Whom a twin holds directly, in the plant's order. */
export function partsOf(plant: PlantInfo): Map<string, TwinInfo[]> {
  const twinOfId = new Map(plant.twins.map((t) => [t.id, t]));
  const parts = new Map<string, TwinInfo[]>();
  for (const r of plant.relationships.filter(isPartOf)) {
    const target = twinOfId.get(r.target);
    if (!target) continue;
    const held = parts.get(r.source);
    if (held) held.push(target);
    else parts.set(r.source, [target]);
  }
  return parts;
}

/** A twin and all its parts. */
export function subtree(twin: string, wholeOf: ReadonlyMap<string, string>): Set<string> {
  const partsOf = new Map<string, string[]>();
  for (const [part, whole] of wholeOf) partsOf.set(whole, [...(partsOf.get(whole) ?? []), part]);
  const found = new Set([twin]);
  for (const one of found) for (const part of partsOf.get(one) ?? []) found.add(part);
  return found;
}

/** A twin and what it is part of, upwards; each once, however the plant is knotted. */
export function upwards(twin: string, wholeOf: ReadonlyMap<string, string>): Set<string> {
  const found = new Set<string>();
  for (let at: string | undefined = twin; at !== undefined && !found.has(at); at = wholeOf.get(at)) found.add(at);
  return found;
}
