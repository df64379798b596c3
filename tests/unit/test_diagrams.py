"""The diagrams of the pages, as the website shows them."""

import re
import sys
from xml.etree import ElementTree

import pytest

from execution.states import STEP_MOVES, StepStatus
from tests.worker_process import ROOT

sys.path.insert(0, str(ROOT / "docs"))

from diagrams import draw_diagram

SVG = "{http://www.w3.org/2000/svg}"
EXAMPLE = "stateDiagram-v2\n    [*] --> a\n    a --> b: on\n    b --> a: back\n"


def draw(mermaid: str) -> ElementTree.Element:
    text = draw_diagram(mermaid)
    assert text is not None
    return ElementTree.fromstring(text)  # noqa: S314  # drawn by ourselves


def list_tips(picture: ElementTree.Element) -> list[list[str]]:
    paths = picture.iter(f"{SVG}path")
    found = [sorted(k for k in path.attrib if k.startswith("marker")) for path in paths]
    return [tips for tips in found if tips]


def test_two_ways_between_two_boxes_are_one_edge_with_two_tips() -> None:
    assert list_tips(draw(EXAMPLE)) == [["marker-end", "marker-start"]]


def test_a_way_back_has_its_tip_where_it_leads_to() -> None:
    round_trip = EXAMPLE.replace("b --> a", "b --> c: on\n    c --> a")

    assert list_tips(draw(round_trip)).count(["marker-start"]) == 1


@pytest.mark.parametrize("name", [str(status) for status in StepStatus])
def test_every_state_of_a_step_is_drawn(name: str) -> None:
    page = (ROOT / "docs/state_machine.md").read_text("utf-8")
    mermaid = re.findall(r"```mermaid\n(.*?)```", page, re.DOTALL)[1]

    picture = draw(mermaid)

    assert name in {text.text for text in picture.iter(f"{SVG}text")}
    pairs = {frozenset({before, after}) for (before, _), after in STEP_MOVES.items()}
    assert len(list_tips(picture)) == len({p for p in pairs if len(p) == 2})


def test_tables_are_drawn_with_what_refers_to_them() -> None:
    picture = draw('erDiagram\n    plans ||--o{ runs : "is run as"\n')

    assert {text.text for text in picture.iter(f"{SVG}text")} >= {"plans", "runs"}
    assert list_tips(picture) == [["marker-end"]]


def test_what_is_no_such_diagram_is_left_as_it_is() -> None:
    assert draw_diagram("flowchart TB\n    a --> b\n") is None
