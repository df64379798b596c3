"""The speed of each system against raw Celery, as an SVG of horizontal bars.

A bar begins at "as fast as raw Celery": to the right is faster, to the left slower.
Each grid line is twice the one before, so that half and double look alike.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from benchmarks.results import Results
from benchmarks.tables import HIGHER_IS_BETTER, find_reference

_PANELS: Sequence[tuple[str, str, str]] = (
    ("chains", "rate", "many chains at once (throughput)"),
    ("latency", "step", "one idle chain at a time (latency)"),
    ("long-chain", "", "one long chain"),
    ("fan-out", "", "fan-out and join"),
    ("half-load", "execution", "chains at half of the load (latency)"),
    ("submit", "one by one", "submitting one by one"),
    ("submit", "in bulk", "submitting in bulk"),
    ("hops", "step", "each step on another queue"),
)
_COLOURS = {
    "plans": "#1a7f5a",
    "raw-redis": "#9aa5b1",
    "raw-postgres": "#6b7785",
    "dbos": "#c47f17",
    "procrastinate": "#8c5fbf",
    "bare-2": "#2f6fb3",
}
_WIDTH, _LEFT, _RIGHT = 900, 340, 70
_TITLES_END = 280
_BAR, _GAP, _TOP = 16, 30, 84
_MOST_DOUBLINGS = 5


@dataclass(frozen=True)
class _Bar:
    title: str
    colour: str
    speed: float
    """How many times as fast as the reference."""


@dataclass(frozen=True)
class _Panel:
    title: str
    bars: Sequence[_Bar]


def draw_plot(results: Results) -> str:
    """Return the whole picture."""
    panels = [panel for panel in _list_panels(results) if panel.bars]
    heights = [_GAP + _BAR * len(panel.bars) for panel in panels]
    bottom = _TOP + sum(heights) + 10
    reach = _find_reach(panels)
    parts = [*_draw_head(bottom), *_draw_grid(reach, bottom)]
    top = _TOP
    for panel, height in zip(panels, heights, strict=True):
        parts += _draw_panel(panel, top, reach)
        top += height
    return "\n".join([*parts, "</svg>"]) + "\n"


def _list_panels(results: Results) -> Iterator[_Panel]:
    for workload, wanted, title in _PANELS:
        found = [name for name in results.list_measures(workload) if name]
        # where a workload has several measures, the last is the largest
        measure = wanted or (found[-1] if found else "")
        suffix = "" if wanted or not found else f", {measure}"
        yield _Panel(title + suffix, list(_list_bars(results, workload, measure)))


def _list_bars(results: Results, workload: str, measure: str) -> Iterator[_Bar]:
    reference = find_reference(results, workload, measure)
    for system, colour in _COLOURS.items():
        figure = results.find(workload, system, measure)
        if reference is None or figure is None or not figure.values:
            continue
        ratio = figure.median / reference.median
        speed = ratio if figure.unit in HIGHER_IS_BETTER else 1 / ratio
        if figure.system != reference.system:
            yield _Bar(results.titles[system], colour, speed)


def _find_reach(panels: Sequence[_Panel]) -> int:
    speeds = [bar.speed for panel in panels for bar in panel.bars]
    most = max((abs(math.log2(speed)) for speed in speeds), default=1.0)
    return min(max(1, math.ceil(most)), _MOST_DOUBLINGS)


def _place(speed: float, reach: int) -> float:
    doublings = max(-reach, min(reach, math.log2(speed)))
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (doublings + reach) / (2 * reach)


def _draw_head(bottom: int) -> Iterator[str]:
    height = bottom + 34
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}"'
        f' viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" font-size="12">'
    )
    yield f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>'
    yield _draw_text(16, 26, "How fast, against raw Celery", size=17, weight="bold")
    yield _draw_text(
        16,
        46,
        "Times as fast as Celery chains without results, or with results in Redis"
        " where it takes them;",
    )
    yield _draw_text(16, 62, "medians of one run on the same servers.")
    yield _draw_text(_LEFT, bottom + 24, "← slower")
    yield _draw_text(_WIDTH - _RIGHT, bottom + 24, "faster →", anchor="end")


def _draw_grid(reach: int, bottom: int) -> Iterator[str]:
    for doublings in range(-reach, reach + 1):
        x = _place(2.0**doublings, reach)
        colour, width = ("#333333", 1.5) if doublings == 0 else ("#dddddd", 1)
        yield (
            f'<line x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{bottom - 4}"'
            f' stroke="{colour}" stroke-width="{width}"/>'
        )
        label = f"{2**doublings}x" if doublings >= 0 else f"1/{2**-doublings}x"
        yield _draw_text(x, bottom + 10, label, anchor="middle")


def _draw_panel(panel: _Panel, top: int, reach: int) -> Iterator[str]:
    yield _draw_text(16, top + 20, panel.title, weight="bold")
    one = _place(1.0, reach)
    for index, bar in enumerate(panel.bars):
        y = top + _GAP - 4 + index * _BAR
        end = _place(bar.speed, reach)
        yield (
            f'<rect x="{min(one, end):.1f}" y="{y}" width="{abs(end - one):.1f}"'
            f' height="{_BAR - 4}" fill="{bar.colour}"/>'
        )
        yield _draw_text(_TITLES_END, y + 10, bar.title, anchor="end")
        beside = (end + 5, "start") if end >= one else (end - 5, "end")
        yield _draw_text(beside[0], y + 10, f"{bar.speed:.2f}x", anchor=beside[1])


def _draw_text(
    x: float,
    y: float,
    text: str,
    *,
    anchor: str = "start",
    size: int = 12,
    weight: str = "normal",
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y}" text-anchor="{anchor}" font-size="{size}"'
        f' font-weight="{weight}" fill="#222222">{escape(text)}</text>'
    )
