import { expect, test } from "vitest";
import css from "./base.css?raw";

/** WCAG 2.2: 1.4.3 asks for 4.5 of text, 1.4.11 for 3 of lines and borders that say something. */
const TEXT = 4.5;
const LINE = 3;
const GROUNDS = ["ground", "surface", "raised"];
const PAIRS: [string, string, number][] = [
  ...GROUNDS.flatMap((g): [string, string, number][] => [["ink", g, TEXT], ["ink-soft", g, TEXT], ["line-strong", g, LINE]]),
  ...["bad", "uncertain", "stale", "good"].flatMap((c): [string, string, number][] => GROUNDS.map((g) => [c, g, TEXT])),
  ["bad", "bad-soft", TEXT], ["uncertain", "uncertain-soft", TEXT], ["stale", "stale-soft", TEXT],
  ...[1, 2, 3, 4].map((n): [string, string, number] => [`series-${n}`, "surface", LINE]),
  ["fill", "surface", LINE],
];

function colours(block: string): Map<string, string> {
  return new Map([...block.matchAll(/--([\w-]+):\s*(#[0-9a-f]{6})/g)].map((m) => [m[1]!, m[2]!]));
}

const [light, dark] = [/:root \{([^}]*)\}/, /:root\[data-theme="dark"\] \{([^}]*)\}/].map((rule) => colours(rule.exec(css)?.[1] ?? ""));
const THEMES: [string, Map<string, string>][] = [["light", light!], ["dark", new Map([...light!, ...dark!])]];

function luminance(hex: string): number {
  const [r, g, b] = [1, 3, 5].map((i) => {
    const share = parseInt(hex.slice(i, i + 2), 16) / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r! + 0.7152 * g! + 0.0722 * b!;
}

function contrast(a: string, b: string): number {
  const [low, high] = [luminance(a), luminance(b)].toSorted((x, y) => x - y);
  return (high! + 0.05) / (low! + 0.05);
}

test("the measure is that of WCAG", () => {
  expect(contrast("#000000", "#ffffff")).toBeCloseTo(21);
  expect(contrast("#777777", "#ffffff")).toBeCloseTo(4.48, 2);
});

for (const [name, theme] of THEMES) {
  test(`everything can be read in the ${name} theme`, () => {
    const poor = PAIRS.map(([front, back, least]) => ({ pair: `${front} on ${back}`, least, is: contrast(theme.get(front)!, theme.get(back)!) }))
      .filter((p) => !(p.is >= p.least))
      .map((p) => `${p.pair}: ${p.is.toFixed(2)} < ${p.least}`);
    expect(poor).toEqual([]);
  });
}
