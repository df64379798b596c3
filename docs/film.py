"""A terminal's screen over time, as one SVG that moves by itself.

Promises: the same input makes the same picture. It needs no script, no font and no
other file; where nothing moves, because the reader wants it so or the program cannot,
the last frame is shown. It must not know what was run.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from xml.sax.saxutils import escape

import pyte

_MOMENT_SECONDS = 0.25
_LONGEST_PAUSE_SECONDS = 1.5
_LAST_FRAME_SECONDS = 8.0
_CELL_WIDTH, _CELL_HEIGHT = 8.43, 16
_MARGIN, _BAR = 16, 36
_COLOURS = {
    "black": "#768390",
    "red": "#ff7b72",
    "green": "#57ab5a",
    "brown": "#daaa3f",
    "blue": "#6cb6ff",
    "magenta": "#dcbdfb",
    "cyan": "#56d4dd",
}
"""What colours look like, by pyte's names for them; it calls yellow brown."""
_CLASSES = {name: f"c{number}" for number, name in enumerate(_COLOURS)}
_FILM = """\
<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{width}" height="{height}" \
viewBox="0 0 {width} {height}">
<title>{title}</title>
<style>{style}</style>
<rect width="{width}" height="{height}" rx="8" fill="#1c2128" stroke="#444c56"/>
<g fill="#444c56"><circle cx="20" cy="18" r="6"/><circle cx="40" cy="18" r="6"/>\
<circle cx="60" cy="18" r="6"/></g>
<g font-family="ui-monospace,Menlo,Consolas,DejaVu Sans Mono,monospace" \
font-size="14" fill="#cdd9e5" xml:space="preserve">
<text x="{centre}" y="23" text-anchor="middle" fill="#768390">{title}</text>
<defs>
{lines}
</defs>
<svg x="{margin}" y="{bar}" width="{inner_width}" height="{inner_height}">
<g class="film" transform="translate(0)"><g transform="translate(0 13)">
{frames}
</g></g>
</svg>
</g>
</svg>
"""


@dataclass(frozen=True)
class Chunk:
    """What a program wrote, and how long after its start."""

    seconds: float
    written: bytes


@dataclass(frozen=True)
class Run:
    """Characters of one line that look alike, and the column of the first."""

    column: int
    text: str
    colour: str
    is_bold: bool


Line = tuple[Run, ...]


@dataclass(frozen=True)
class Frame:
    """A screen, and since when it was seen."""

    seconds: float
    lines: tuple[Line, ...]


def watch_screen(
    chunks: Iterable[Chunk], *, columns: int, rows: int
) -> Iterator[Frame]:
    """Yield the screens that a terminal of this size shows, each unlike the one before.

    Within a moment the last one counts.
    """
    screen = pyte.Screen(columns, rows)
    stream = pyte.ByteStream(screen)
    shown: tuple[Line, ...] | None = None
    for _, moment in groupby(chunks, lambda c: int(c.seconds / _MOMENT_SECONDS)):
        for chunk in moment:
            stream.feed(chunk.written)
        lines = tuple(_read_line(screen, row) for row in range(rows))
        if lines != shown:
            yield Frame(chunk.seconds, lines)
        shown = lines


def _read_line(screen: pyte.Screen, row: int) -> Line:
    cells = [screen.buffer[row][column] for column in range(screen.columns)]
    runs: list[Run] = []
    for (colour, is_bold), run in groupby(
        enumerate(cells), lambda item: (item[1].fg, item[1].bold)
    ):
        places = list(run)
        text = "".join(cell.data for _, cell in places)
        column = places[0][0] + len(text) - len(text.lstrip())
        if text.strip():
            runs.append(Run(column, text.strip(), colour, is_bold))
    return tuple(runs)


def shorten_pauses(frames: Iterable[Frame]) -> Iterator[Frame]:
    """Yield the frames with no long time between two of them, from the moment 0 on."""
    moment, before = 0.0, None
    for frame in frames:
        if before is not None:
            moment += min(frame.seconds - before, _LONGEST_PAUSE_SECONDS)
        before = frame.seconds
        yield Frame(moment, frame.lines)


def draw_film(frames: Iterable[Frame], *, columns: int, rows: int, title: str) -> str:
    """Return the SVG: a strip of the frames behind a window, the last one in front."""
    strip = list(frames)
    width, height = round(columns * _CELL_WIDTH), rows * _CELL_HEIGHT
    numbers = _number_lines(strip)
    lines = "\n".join(
        f'<text id="l{number}">{_draw_line(line)}</text>'
        for line, number in numbers.items()
    )
    # the last frame stands at 0, where it is seen if nothing moves
    places = [*range(width, width * len(strip), width), 0]
    shown = "\n".join(
        _draw_frame(frame, place, numbers)
        for frame, place in zip(strip, places, strict=True)
    )
    return _FILM.format(
        title=escape(title),
        style=_write_style(strip, places),
        width=width + 2 * _MARGIN,
        height=height + _BAR + _MARGIN,
        centre=(width + 2 * _MARGIN) // 2,
        margin=_MARGIN,
        bar=_BAR,
        inner_width=width,
        inner_height=height,
        lines=lines,
        frames=shown,
    )


def _number_lines(frames: Sequence[Frame]) -> dict[Line, int]:
    """Return each line that is ever seen with its number: it is drawn once."""
    unlike = dict.fromkeys(line for frame in frames for line in frame.lines if line)
    return {line: number for number, line in enumerate(unlike)}


def _draw_line(line: Line) -> str:
    return "".join(_draw_run(run) for run in line)


def _draw_run(run: Run) -> str:
    # the length is stated, for the reader's font may be wider or narrower
    look = " ".join(filter(None, (_CLASSES.get(run.colour), "b" * run.is_bold)))
    return (
        f'<tspan x="{run.column * _CELL_WIDTH:g}"'
        f' textLength="{len(run.text) * _CELL_WIDTH:g}"'
        + (f' class="{look}"' if look else "")
        + f">{escape(run.text)}</tspan>"
    )


def _draw_frame(frame: Frame, place: int, numbers: dict[Line, int]) -> str:
    uses = "".join(
        f'<use href="#l{numbers[line]}" y="{row * _CELL_HEIGHT}"/>'
        for row, line in enumerate(frame.lines)
        if line
    )
    return f'<g transform="translate({place})">{uses}</g>'


def _write_style(frames: Sequence[Frame], places: Sequence[int]) -> str:
    """Return the colours, and when which frame is in front."""
    length = frames[-1].seconds + _LAST_FRAME_SECONDS
    colours = "".join(
        f".{_CLASSES[name]}{{fill:{colour}}}"
        for name, colour in _COLOURS.items()
        if name in _CLASSES
    )
    steps = "".join(
        f"{100 * frame.seconds / length:.2f}%{{transform:translateX({-place}px)}}"
        for frame, place in zip(frames, places, strict=True)
    )
    return (
        f"{colours}.b{{font-weight:bold}}"
        f".film{{animation:play {length:.1f}s step-end infinite}}"
        f"@keyframes play{{{steps}}}"
        "@media (prefers-reduced-motion:reduce){.film{animation:none}}"
    )
