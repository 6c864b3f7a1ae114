"""A trial as one page that opens anywhere: figures, protocol and plots in one file, without a script or a network.

What it can plot is what the trial kept: in `Seed.raw` what `ml.trial.kept` makes, or figures by device.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from control.plots import Plot, around, bars
from ml.trial import Trial
from twin.errors import Unavailable

DOTS_MAX = 2_000  # of a plot: more is one grey cloud and a slow page
SPANS_MAX = 150
DEVICES_MAX = 40
ORDER_MIN, ORDER_MAX = 20, 400  # results on one line
BINS = 10
LEVEL = 0.9  # what `low` … `high` promise where the trial does not say
Array = NDArray[np.float64]
STYLE = """
:root{color-scheme:light dark;--ink:#222;--soft:#666;--page:#fff;--line:#ddd;--mark:#1f5f9f;--floor:#b35900}
@media (prefers-color-scheme:dark){:root{--ink:#ddd;--soft:#999;--page:#181818;--line:#3a3a3a;--mark:#7db4e8;--floor:#e8a15a}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--page);max-width:980px;margin:2em auto;padding:0 1em}
h1{font-size:1.5em}h2{font-size:1.1em;margin-top:2em}p.soft,td.soft{color:var(--soft)}
table{border-collapse:collapse}th,td{padding:.2em .9em .2em 0;text-align:right;border-bottom:1px solid var(--line)}
th:first-child,td:first-child{text-align:left}td{font-variant-numeric:tabular-nums}
.plots{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,440px),1fr));gap:1em}
figure{margin:0}figcaption{font-weight:600;font-size:.95em}svg{width:100%;height:auto}
text{fill:var(--ink);font-size:11px}.tick,.note{fill:var(--soft);font-size:10px}
.grid{stroke:var(--line)}.frame{stroke:var(--soft)}.dot{fill:var(--mark);fill-opacity:.55}.floor{fill:var(--floor)}
.miss{fill:var(--floor);fill-opacity:.8}.bar{fill:var(--mark);fill-opacity:.7}
.line{fill:none;stroke:var(--mark);stroke-width:1.2}.truth{fill:none;stroke:var(--ink);stroke-width:1}
.span{stroke:var(--mark);stroke-opacity:.45}.level{stroke:var(--floor);stroke-dasharray:4 3}
"""


@dataclass(frozen=True, slots=True)
class _Told:
    """What one seed kept of its forecasts, each of shape (N,)."""

    truth: Array
    told: Array
    low: Array | None
    high: Array | None
    device: NDArray[np.object_] | None
    level: float
    by: str

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> _Told | None:
        """None where there is nothing to plot."""
        if "truth" not in raw or "told" not in raw:
            return None
        truth, told = _flat(raw["truth"]), _flat(raw["told"])
        if not len(truth) or truth.shape != told.shape:
            return None
        low, high = (_flat(raw[k]) if k in raw else None for k in ("low", "high"))
        if low is None or high is None or low.shape != truth.shape or high.shape != truth.shape:
            low = high = None
        device = np.array([str(d) for d in raw.get("device", ())], dtype=object)
        level = float(raw.get("level", LEVEL))
        return cls(
            truth, told, low, high, device if device.shape == truth.shape else None, level, str(raw.get("by", "device"))
        )


def write(path: Path, trial: Trial) -> None:
    """
    Raises:
        Unavailable: it cannot be written there.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(page(trial), "utf-8")
        part.replace(path)
    except OSError as error:
        raise Unavailable(f"{path} cannot be written: {error.strerror}", "name another place") from None


def page(trial: Trial) -> str:
    """The whole document."""
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    title = f"{trial.task}: {trial.model} on {trial.data}"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-{digest}'\">"
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>"
        f"<h1>{escape(title)}</h1><p>{escape(trial.protocol)}</p>"
        f"<h2>Figures</h2>{_figures(trial)}{_plots(trial)}"
        f'<p class="soft">Made by Twinloop. Single results are of seed {trial.seeds[0].seed}.</p>'
        "</body></html>\n"
    )


def _figures(trial: Trial) -> str:
    seeds = "".join(f"<th>seed {s.seed}</th>" for s in trial.seeds)
    head = (
        f"<tr><th>figure</th><th>mean</th><th>sd</th><th>floor: {escape(trial.floor_model or 'plain')}</th>{seeds}</tr>"
    )
    rows = ""
    for name in trial.figures:
        floor = f"{trial.floor[name]:.4g}" if name in trial.floor else "–"
        each = "".join(f'<td class="soft">{s.figures[name]:.4g}</td>' for s in trial.seeds)
        mean = f"<td>{trial.mean(name):.4g}</td><td>{trial.spread(name):.2g}</td>"
        rows += f"<tr><td>{escape(name)}</td>{mean}<td>{floor}</td>{each}</tr>"
    took = "".join(f'<td class="soft">{s.seconds:.1f}</td>' for s in trial.seeds)
    return f"<table>{head}{rows}<tr><td>seconds</td><td></td><td></td><td></td>{took}</tr></table>"


def _plots(trial: Trial) -> str:
    made = [_seeds(trial, name) for name in trial.figures]
    seeds = f'<h2>Seeds</h2><div class="plots">{"".join(made)}</div>' if len(trial.seeds) > 1 else ""
    told = _Told.of(trial.seeds[0].raw)
    if told is None:
        each = _by_device(trial.seeds[0].raw)
        return (f'<h2>By device</h2><div class="plots">{"".join(each)}</div>' if each else "") + seeds
    single = [_against(told)]
    if (count := _together(told)) >= ORDER_MIN:
        single += [_in_order(told, count)]
    if told.low is not None and told.high is not None:
        single += [_calibration(told, told.low, told.high)]
    if told.device is not None and len(set(told.device)) > 1:
        single += [_devices(told, told.device)]
    return f'<h2>Single results</h2><div class="plots">{"".join(single)}</div>' + seeds


def _against(told: _Told) -> str:
    some = _some(len(told.truth), DOTS_MAX)
    truth, guess = told.truth[some], told.told[some]
    ends = around(truth.tolist(), guess.tolist())
    squared = ((told.told - told.truth) ** 2)[np.isfinite(told.told - told.truth)]
    error = math.sqrt(squared.mean()) if len(squared) else math.nan
    plot = Plot("Told against truth", "truth", "told", ends, ends, f"{len(told.truth)} forecasts, RMSE {error:.4g}")
    plot.line(ends, ends, "level")
    if told.low is not None and told.high is not None:
        few = some[_some(len(some), SPANS_MAX)]
        plot.upright(told.truth[few].tolist(), told.low[few].tolist(), told.high[few].tolist())
    plot.dots(truth.tolist(), guess.tolist())
    return plot.svg()


def _together(told: _Told) -> int:
    """How many of the first results are of one device, and so follow each other."""
    if told.device is None:
        return min(len(told.truth), ORDER_MAX)
    other = np.flatnonzero(told.device != told.device[0])
    return min(int(other[0]) if len(other) else len(told.device), ORDER_MAX)


def _in_order(told: _Told, count: int) -> str:
    """The first ones, as they came."""
    xs = list(range(count))
    truth, guess = told.truth[:count].tolist(), told.told[:count].tolist()
    spans = [a[:count].tolist() for a in (told.low, told.high) if a is not None]
    whose = f" of {told.by} {told.device[0]}" if told.device is not None else ""
    plot = Plot(
        f"As they came{whose}", "place", "truth (thin) and told", (0, max(1, count - 1)), around(truth, guess, *spans)
    )
    for ends in spans:
        plot.line(xs, ends, "span line")
    plot.line(xs, truth, "truth")
    plot.line(xs, guess)
    return plot.svg()


def _calibration(told: _Told, low: Array, high: Array) -> str:
    """Of tenths of the told values how often the interval held, with the range of chance."""
    known = np.isfinite(told.truth) & np.isfinite(told.told) & np.isfinite(low) & np.isfinite(high)
    guess, held = told.told[known], ((low <= told.truth) & (told.truth <= high))[known]
    edges = np.unique(np.quantile(guess, np.linspace(0, 1, BINS + 1))) if len(guess) else np.zeros(0)
    place = np.clip(np.searchsorted(edges, guess, side="right") - 1, 0, max(0, len(edges) - 2))
    xs, ys, lows, highs = [], [], [], []
    for k in range(max(1, len(edges) - 1)):
        some = held[place == k]
        if len(some):
            chance = 1.96 * math.sqrt(told.level * (1 - told.level) / len(some))
            xs.append(float(guess[place == k].mean()))
            ys.append(float(some.mean()))
            lows.append(max(0.0, told.level - chance))
            highs.append(min(1.0, told.level + chance))
    whole = float(held.mean()) if len(held) else math.nan
    plot = Plot(
        f"Intervals: {whole:.1%} held, {told.level:.0%} promised", "told", "share that held", around(xs),
        (min([0.5, *ys, *lows]), 1.0), "bars: the range of chance, if forecasts were independent",
    )  # fmt: skip
    plot.level(told.level, "promised")
    plot.upright(xs, lows, highs)
    plot.dots(xs, ys, radius=4)
    return plot.svg()


def _devices(told: _Told, device: NDArray[np.object_]) -> str:
    error = np.abs(told.told - told.truth)
    known = np.isfinite(error)
    means = {str(d): float(error[known & (device == d)].mean()) for d in dict.fromkeys(device[known])}
    return _ranked(f"Errors by {told.by}", "mean absolute error", means)


def _ranked(title: str, name: str, values: Mapping[str, float]) -> str:
    """Bars, the largest first; what is not known comes last."""
    largest = sorted(values.items(), key=lambda item: -item[1] if math.isfinite(item[1]) else math.inf)
    title += f": the {DEVICES_MAX} largest of {len(largest)}" if len(largest) > DEVICES_MAX else ""
    rows = [(device, value, "bar") for device, value in largest[:DEVICES_MAX]]
    return bars(title, name, rows, f"median {np.median(list(values.values())):.4g}" if values else "")


def _by_device(raw: Mapping[str, Any]) -> list[str]:
    """A plot of each figure that the trial kept for every device, as {device: {figure: value}} anywhere in `raw`."""
    for table in (raw, *(v for v in raw.values() if isinstance(v, Mapping))):
        rows = {str(d): r for d, r in table.items() if isinstance(r, Mapping)}
        names = list(dict.fromkeys(n for r in rows.values() for n, v in r.items() if isinstance(v, int | float)))
        if len(rows) > 1 and len(rows) == len(table) and names:
            return [
                _ranked(f"{n}, by device", n, {d: float(r.get(n, math.nan)) for d, r in rows.items()}) for n in names
            ]
    return []


def _seeds(trial: Trial, name: str) -> str:
    values = [s.figures[name] for s in trial.seeds]
    floor = [trial.floor[name]] if name in trial.floor else []
    mean, spread = trial.mean(name), trial.spread(name)
    xs = [float(k) for k in range(len(values))]
    ends, high = (-0.5, len(values) - 0.5), around(values, floor, [mean - spread, mean + spread])
    plot = Plot(f"{name}: {mean:.4g} ± {spread:.2g}", "seed", name, ends, high, f"{len(values)} seeds")
    if floor:
        plot.level(floor[0], trial.floor_model or "floor")
    plot.line(ends, (mean, mean))
    plot.dots(xs, values, radius=4)
    return plot.svg([(x, str(s.seed)) for x, s in zip(xs, trial.seeds, strict=True)])


def _flat(values: Any) -> Array:
    try:
        return np.asarray([math.nan if v is None else v for v in values], np.float64).reshape(-1)
    except (TypeError, ValueError):  # nested, or of unequal lengths
        return np.zeros(0)


def _some(count: int, most: int) -> NDArray[np.intp]:
    """Evenly chosen places."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.intp)) if count else np.zeros(0, np.intp)


def plain(trial: Trial) -> dict[str, Any]:
    """A trial as JSON has it: what is no number is null."""
    found: dict[str, Any] = _finite(trial.to_json())
    return found


def _finite(value: Any) -> Any:
    match value:
        case Mapping():
            return {str(k): _finite(v) for k, v in value.items()}
        case list() | tuple():
            return [_finite(v) for v in value]
        case np.ndarray() | np.generic():
            return _finite(value.tolist())
        case float():
            return value if math.isfinite(value) else None
    return value


def figures_line(trial: Trial) -> Sequence[tuple[str, str, str, str]]:
    """(figure, mean, sd, floor) as text."""
    return [
        (name, f"{trial.mean(name):.4g}", f"{trial.spread(name):.2g}", f"{trial.floor[name]:.4g}" if name in trial.floor else "")
        for name in trial.figures
    ]  # fmt: skip
