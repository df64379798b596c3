"""What the recording of a terminal becomes, and the one that the README shows."""

import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from execution.cli.display import build_steps_table
from tests.worker_process import ROOT

sys.path.insert(0, str(ROOT / "docs"))

from film import Chunk, Frame, Run, draw_film, shorten_pauses, watch_screen

PICTURE = ROOT / "docs" / "demo.svg"
SVG = "{http://www.w3.org/2000/svg}"


def parse(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text)  # noqa: S314  # drawn by ourselves


def watch(*chunks: tuple[float, str]) -> list[Frame]:
    written = [Chunk(seconds, text.encode()) for seconds, text in chunks]
    return list(watch_screen(written, columns=20, rows=2))


def draw(frames: list[Frame]) -> str:
    return draw_film(frames, columns=20, rows=2, title="a <demo>")


def test_a_frame_is_what_a_terminal_shows() -> None:
    (frame,) = watch((0, "one\x1b[2K\rtwo \x1b[1;31mred\x1b[0m x"))

    assert frame.lines == (
        (
            Run(0, "two", "default", False),
            Run(4, "red", "red", True),
            Run(8, "x", "default", False),
        ),
        (),
    )


def test_a_screen_that_stays_as_it_is_makes_no_frame() -> None:
    assert [frame.seconds for frame in watch((0, "a"), (1, "\ra"), (2, "b"))] == [0, 2]


def test_of_the_screens_of_one_moment_the_last_is_a_frame() -> None:
    assert [frame.seconds for frame in watch((1, "a"), (1.1, "b"), (2, "c"))] == [
        1.1,
        2,
    ]


def test_a_long_pause_is_shortened_and_a_short_one_is_not() -> None:
    shortened = shorten_pauses(watch((5, "a"), (6, "b"), (60, "c")))

    assert [frame.seconds for frame in shortened] == [0, 1, 2.5]


def test_the_last_frame_is_in_front_where_nothing_moves() -> None:
    picture = parse(draw(watch((0, "first"), (1, "last"))))
    (strip,) = picture.iterfind(f".//{SVG}g[@class='film']/{SVG}g")

    places = [str(frame.get("transform")) for frame in strip]

    assert places == ["translate(169)", "translate(0)"]
    assert "prefers-reduced-motion" in str(picture.findtext(f"{SVG}style"))


def test_each_frame_is_in_front_when_its_time_has_come() -> None:
    style = draw(watch((0, "first"), (2, "second"), (4, "third")))

    # and the last one stays for eight seconds more
    assert "play 12.0s" in style
    assert re.findall(r"([\d.]+)%\{transform:translateX\((-?\d+)px\)", style) == [
        ("0.00", "-169"),
        ("16.67", "-338"),
        ("33.33", "0"),
    ]


def test_what_a_program_wrote_cannot_become_markup() -> None:
    picture = parse(draw(watch((0, "<script>&"))))

    assert "<script>&" in "".join(picture.itertext())
    assert [element.tag for element in picture.iter(f"{SVG}script")] == []


def test_the_same_line_is_drawn_once() -> None:
    assert draw(watch((0, "still\r\n"), (1, "a"), (2, "b"))).count("still") == 1


@pytest.fixture(scope="module")
def shown() -> str:
    """All lines of the recording that the README shows."""
    assert PICTURE.stat().st_size < 300_000
    picture = parse(PICTURE.read_text("utf-8"))
    lines = ("".join(line.itertext()) for line in picture.iter(f"{SVG}text"))
    return "\n".join(lines)


@pytest.mark.parametrize(
    "line",
    [
        "$ plans demo",
        r"kill -9 \d+: worker demo-\d is gone, in the middle of parse_\d",
        r"step.lost parse_\d",
        r"each of 11 steps has exactly one success",
        r"parse_\d was lost with its worker; attempt 2 succeeded",
        r"numbered from 1 to \d+ without a gap",
    ],
)
def test_the_recording_shows_the_demo_and_its_verdict(line: str, shown: str) -> None:
    words = (re.escape(word) if word == "$" else word for word in line.split(" "))

    assert re.search(r"\s*".join(words), shown)


def test_the_recording_has_the_table_that_the_demo_draws_now(shown: str) -> None:
    titles = [str(column.header) for column in build_steps_table([], {}).columns]

    assert re.search(r"┃\s*".join(titles), re.sub(r"\s+", "", shown))


def test_the_readme_shows_the_recording() -> None:
    assert "](docs/demo.svg)" in Path(ROOT / "README.md").read_text("utf-8")
