"""Draws the census: the largest packages, how they are documented, who is imported.

Promises: a survey always gives the same picture, also one of nothing; no colour says
anything that a number beside it does not say as well.

Must not know files or plans.
"""

from .survey import Survey
from .svg import Drawing
from .tally import Tally
from .wording import share

WIDTH, HEIGHT = 1200, 800
BARS = 25
RANKS = 14

_INK, _QUIET = "#22303c", "#66717b"
_PAPER = "#fbfaf7"
# Orange to blue, which readers who cannot tell red from green can tell apart; each with
# the same colour, thinned, for the lines that are no code.
_STEPS = (
    ("#c65d2e", "#ecc8b6", "under 20%"),
    ("#e0a458", "#f4dfc3", "20 to 40%"),
    ("#93ab9f", "#d5e0da", "40 to 60%"),
    ("#5b8fb0", "#c3d7e3", "60 to 80%"),
    ("#1f5a80", "#aac3d3", "80% and more"),
)
_NOTHING = ("#d5d2ca", "#e9e7e1", "nothing to document")

_LEFT, _RIGHT = 48, 1152
_NAME_END, _BAR_START, _BAR_END = 178, 190, 700
_SIDE = 858
_FIRST_ROW, _ROW = 268, 19.6


def draw(survey: Survey) -> str:
    """Return the picture as an SVG document."""
    drawing = Drawing(WIDTH, HEIGHT, survey.title, _describe(survey))
    drawing.box((0, 0, WIDTH, HEIGHT), _PAPER)
    _draw_head(drawing, survey)
    _draw_packages(drawing, survey.largest_packages[:BARS])
    _draw_legend(drawing)
    _draw_imports(drawing, survey)
    _draw_knots(drawing, survey)
    return drawing.to_xml()


def _describe(survey: Survey) -> str:
    total = survey.census.total
    return (
        f"{total.lines:,} lines in {total.files:,} files. The largest packages by"
        " lines, coloured by the share of what is documented; the most imported"
        " packages; and how many lead to one another by imports."
    )


def _draw_head(drawing: Drawing, survey: Survey) -> None:
    total = survey.census.total
    drawing.text((_LEFT, 66), survey.title, size=32, bold=True)
    drawing.text(
        (_LEFT, 94),
        "Every module read and counted; without test suites and installed packages",
        size=15,
        fill=_QUIET,
    )
    tiles = (
        (f"{len(survey.census.packages):,}", "packages"),
        (f"{total.files:,}", "files"),
        (f"{total.lines:,}", "lines"),
        (f"{total.classes:,}", "classes"),
        (f"{total.callables:,}", "functions and methods"),
        (share(total.coverage), "documented"),
    )
    for x, (number, label) in zip((48, 190, 332, 510, 650, 858), tiles, strict=True):
        drawing.text((x, 158), number, size=34, bold=True, fill="#1f5a80")
        drawing.text((x, 179), label, size=13, fill=_QUIET)
    drawing.line((_LEFT, 202), (_RIGHT, 202))


def _draw_packages(drawing: Drawing, packages: list[tuple[str, Tally]]) -> None:
    drawing.text(
        (_LEFT, 232), f"The {len(packages)} largest packages", size=16, bold=True
    )
    drawing.text((_BAR_END + 110, 232), "documented", fill=_QUIET, anchor="end")
    longest = max((tally.lines for _, tally in packages), default=0) or 1
    for row, (name, tally) in enumerate(packages):
        y = _FIRST_ROW + row * _ROW
        solid, pale, _ = _step(tally.coverage)
        scale = (_BAR_END - _BAR_START) / longest
        hint = f"{name}: {tally.lines:,} lines, {tally.code_lines:,} of them code"
        drawing.text((_NAME_END, y), _short(name), anchor="end")
        drawing.box((_BAR_START, y - 11, tally.lines * scale, 14), pale, hint=hint)
        drawing.box((_BAR_START, y - 11, tally.code_lines * scale, 14), solid)
        end = _BAR_START + tally.lines * scale + 8
        drawing.text((end, y), f"{tally.lines:,}", size=12)
        drawing.text(
            (_BAR_END + 110, y),
            share(tally.coverage),
            size=12,
            fill=_QUIET,
            anchor="end",
        )


def _draw_legend(drawing: Drawing) -> None:
    y = 776
    drawing.text((_LEFT, y), "Documented", size=12, fill=_QUIET)
    for x, (solid, _, label) in zip((126, 212, 304, 396, 488), _STEPS, strict=True):
        drawing.box((x, y - 10, 12, 12), solid)
        drawing.text((x + 18, y), label, size=12, fill=_QUIET)
    solid, pale, _ = _STEPS[3]
    drawing.box((634, y - 10, 12, 12), solid)
    drawing.text((652, y), "code", size=12, fill=_QUIET)
    drawing.box((690, y - 10, 12, 12), pale)
    drawing.text((708, y), "docstrings, comments, blank", size=12, fill=_QUIET)


def _draw_imports(drawing: Drawing, survey: Survey) -> None:
    ranks = survey.findings.most_imported[:RANKS]
    drawing.text((_SIDE, 232), "Most imported", size=16, bold=True)
    drawing.text((_RIGHT, 232), "by packages", fill=_QUIET, anchor="end")
    most = max((count for _, count in ranks), default=1)
    for row, (name, count) in enumerate(ranks):
        y = _FIRST_ROW + row * _ROW
        length = count / most * (_RIGHT - 40 - _SIDE - 110)
        drawing.text((_SIDE + 98, y), _short(name), anchor="end")
        drawing.box((_SIDE + 110, y - 7, length, 5), "#c9cfd3")
        drawing.box((_SIDE + 110 + length - 4, y - 9, 9, 9), _INK)
        drawing.text((_RIGHT, y), f"{count}", size=12, anchor="end")


def _draw_knots(drawing: Drawing, survey: Survey) -> None:
    found = survey.findings
    drawing.text((_SIDE, 580), "Knots", size=16, bold=True)
    words = (
        f"{_largest(found.knots):,}",
        "packages are in the largest group in which",
        "each one leads to every other by imports.",
        f"{_largest(found.eager_knots):,}",
        "are in the largest one left, if only those",
        "count that run when a module is imported.",
    )
    for top, lines in ((622, words[:3]), (686, words[3:])):
        number, first, second = lines
        drawing.text((_SIDE + 46, top), number, size=28, bold=True, anchor="end")
        drawing.text((_SIDE + 60, top - 11), first, size=12, fill=_QUIET)
        drawing.text((_SIDE + 60, top + 5), second, size=12, fill=_QUIET)


def _largest(knots: tuple[tuple[str, ...], ...]) -> int:
    return len(knots[0]) if knots else 0


def _step(coverage: float | None) -> tuple[str, str, str]:
    if coverage is None:
        return _NOTHING
    return _STEPS[min(int(coverage * len(_STEPS)), len(_STEPS) - 1)]


def _short(name: str) -> str:
    return name if len(name) <= 17 else f"{name[:16]}…"
