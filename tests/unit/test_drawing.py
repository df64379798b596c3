"""Plans as pictures: what is on them, what is folded, and that nothing escapes."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution.drawing.folding import fold
from execution.drawing.formats import DrawingFormat, draw
from execution.drawing.layout import Layout, lay_out
from execution.drawing.palette import PAINTS
from execution.drawing.pictures import TIMES, Edge, Picture, picture_plan
from execution.plan import Plan, Step
from execution.results import StepSummary
from execution.states import StepStatus

SVG = "{http://www.w3.org/2000/svg}"
DIAMOND = Plan(
    "diamond",
    version="2",
    steps=[
        Step("start", action="a.start", needs=[]),
        Step("left", action="a.left", needs=["start"], queue="slow"),
        Step("right", action="a.right", needs=["start"], on_failure="skip"),
        Step("end", action="a.end", needs=["left", "right", "start"]),
    ],
)

STATE = StepSummary(
    position=0,
    name="any",
    action="a.b",
    queue="plans",
    status=StepStatus.PENDING,
    reason=None,
    attempt=0,
    failures=0,
    losses=0,
    progress=None,
    progress_message=None,
    worker_id=None,
    claimed_at=None,
    ended_at=None,
    error=None,
)


def fan_out(lanes: int, length: int = 1) -> Plan:
    """Return a plan of as many lanes between two steps."""
    steps = [Step("begin", action="a.begin", needs=[])]
    for lane in range(lanes):
        before = "begin"
        for link in range(length):
            name = f"lane{lane}_{link}"
            steps.append(Step(name, action=f"a.link{link}", needs=[before]))
            before = name
    ends = [f"lane{lane}_{length - 1}" for lane in range(lanes)]
    return Plan("wide", steps=[*steps, Step("end", action="a.end", needs=ends)])


def sequence(length: int) -> Plan:
    return Plan("long", steps=[Step(f"s{i}", action="a.b") for i in range(length)])


def states_of(statuses: Mapping[str, StepStatus]) -> dict[str, StepSummary]:
    """Return what an execution tells of its steps, of which only states matter."""
    return {
        name: replace(
            STATE, status=status, reason="failed" if status == "skipped" else None
        )
        for name, status in statuses.items()
    }


def draw_plan(plan: Plan, drawing_format: DrawingFormat) -> str:
    return draw(picture_plan(plan), drawing_format)


def list_texts(svg: str) -> list[str]:
    return [text.text or "" for text in ET.fromstring(svg).iter(f"{SVG}text")]  # noqa: S314  # our own


# what is on a picture


def test_mermaid_has_each_step_with_its_action_queue_and_edges() -> None:
    assert draw_plan(DIAMOND, DrawingFormat.MERMAID) == (
        "---\n"
        'title: "diamond 2"\n'
        "---\n"
        "flowchart TB\n"
        '    n0["start<br/>a.start"]\n'
        '    n1["left<br/>a.left<br/>queue slow"]\n'
        '    n2["right<br/>a.right<br/>skipped if it fails"]\n'
        '    n3{{"end<br/>a.end<br/>join of 3"}}\n'
        "    n0 --> n1\n"
        "    n0 --> n2\n"
        "    n0 --> n3\n"
        "    n1 --> n3\n"
        "    n2 -.-> n3\n"
        "    classDef optional stroke-dasharray:5 4\n"
        "    class n2 optional\n"
    )


def test_what_comes_after_the_steps_hangs_on_them() -> None:
    plan = Plan(
        "order",
        rollback="on_failure",
        steps=[
            Step("charge", action="p.charge", needs=[], undo={"action": "p.refund"}),
            Step("ship", action="p.ship", needs=[]),
            Step("mend", action="p.mend", run_on="failure", deadline="1m"),
            Step("report", action="p.report", run_on="always", deadline="1m"),
        ],
    )

    picture = picture_plan(plan)

    assert [node.lines[1:] for node in picture.nodes] == [
        ("p.charge",),
        ("p.ship",),
        ("p.mend", "at the end, unless all went well"),
        ("p.report", "at the end"),
        ("p.refund", "undoes charge"),
    ]
    assert [node.may_be_left_out for node in picture.nodes] == [
        *(False, False, True, False, True)
    ]
    assert set(picture.edges) == {
        Edge(0, 4, is_dashed=True),
        Edge(0, 2, is_dashed=True),
        Edge(1, 2, is_dashed=True),
        Edge(2, 3, is_dashed=True),
    }


def test_items_of_a_step_are_counted_by_their_states() -> None:
    plan = Plan(
        "items",
        steps=[
            Step("scan", action="a.scan"),
            Step("parse", action="a.parse", for_each="steps.scan.result.files"),
        ],
    )
    states = {"scan": "completed", "parse": "waiting"}
    states |= {"parse[0]": "completed", "parse[1]": "failed", "parse[2]": "completed"}
    found = states_of({name: StepStatus(text) for name, text in states.items()})

    bare, drawn = picture_plan(plan), picture_plan(plan, states=found)

    assert bare.nodes[1].lines == (
        *("parse", "a.parse", "for each of steps.scan.result.files"),
    )
    assert drawn.nodes[1].lines[3:] == ("items: 1 failed, 2 completed", "waiting")


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"times": 1000}, "1,000 times"),
        ({"times": 5, "until": "${last.ok}"}, "until last.ok, 5 times at most"),
        ({"times": 5, "wait": "90s"}, "5 times, 1m30s apart"),
    ],
)
def test_a_loop_says_how_often_it_repeats_its_action(
    fields: dict[str, object], told: str
) -> None:
    plan = Plan("loop", steps=[Step("turn", repeat={"action": "a.turn", **fields})])
    states = {"turn": StepStatus.WAITING, "turn[0]": StepStatus.COMPLETED}

    (node,) = picture_plan(plan, states=states_of(states)).nodes

    assert node.lines == (
        *("turn", "a.turn", f"repeated {told}", "iterations: 1 completed", "waiting"),
    )


FALLBACKS = Plan(
    "rates",
    steps=[
        Step(
            "fetch",
            action="a.fetch",
            when="steps.look.result.n > 2 &&\n true",
            needs=["look"],
            on_failure={"fallback": "recall"},
        ),
        Step("look", action="a.look", needs=[]),
        Step("publish", action="a.publish", needs=["fetch"]),
        Step("recall", action="a.recall", on_failure={"fallback": "guess"}),
        Step("guess", action="a.guess"),
        Step(
            "parts",
            action="a.part",
            needs=["look"],
            for_each="[1,\n2]",
            max_parallel=8,
            on_failure="skip",
        ),
        Step("tell", action="a.tell", run_on="always", deadline="1m"),
    ],
)


def test_a_condition_is_written_on_its_step() -> None:
    fetch, look, *_ = picture_plan(FALLBACKS).nodes

    assert fetch.lines == (
        *("fetch", "a.fetch", "when steps.look.result.n > 2 && true"),
    )
    assert (fetch.may_be_left_out, look.may_be_left_out) == (True, False)


def test_a_fallback_hangs_on_its_step_and_nothing_on_it() -> None:
    edges = picture_plan(FALLBACKS).edges

    assert [edge for edge in edges if edge.label] == [
        Edge(0, 3, is_dashed=True, label="fallback"),
        Edge(3, 4, is_dashed=True, label="fallback"),
    ]
    (last, also_last) = [edge for edge in edges if edge.after == 6]
    assert (last.before, also_last.before) == (2, 5)


def test_the_limits_of_items_are_written_on_their_step() -> None:
    parts = picture_plan(FALLBACKS).nodes[5]

    assert parts.lines[2:] == ("for each of [1, 2], 8 at a time", "skips failed items")


def test_a_fallback_is_labelled_in_every_format() -> None:
    mermaid, dot, svg = (draw_plan(FALLBACKS, each) for each in DrawingFormat)

    assert "    n0 -.->|fallback| n3\n" in mermaid
    assert '    n0 -> n3 [label="fallback", style=dashed];\n' in dot
    assert list_texts(svg).count("fallback") == 2


def test_fallbacks_of_a_fan_out_become_one_node() -> None:
    steps = [
        Step(f"s{i}", action="a.b", needs=[], on_failure={"fallback": f"f{i}"})
        for i in range(9)
    ]
    steps += [Step(f"f{i}", action="a.c") for i in range(9)]

    folded = fold_to(Plan("many", steps=steps), 1)

    assert describe(folded) == [("s0", 9), ("f0", 9)]
    assert folded.edges == (Edge(0, 1, is_dashed=True, label="fallback"),)


def test_an_arrow_of_many_is_dashed_only_if_all_of_them_are() -> None:
    steps = [Step("a", action="x", needs=[]), Step("b", action="x", needs=[])]
    steps += [Step(f"c{i}", action="y", needs=["ab"[i % 2]]) for i in range(4)]
    dashed = picture_plan(Plan("mixed", steps=steps))
    picture = replace(
        dashed, edges=tuple(e._replace(is_dashed=e.after < 4) for e in dashed.edges)
    )

    (edge,) = fold(picture, most_nodes=2, most_edges=9).edges

    assert edge == Edge(0, 1, is_dashed=False)


def test_dot_has_each_step_with_its_action_queue_and_edges() -> None:
    text = draw_plan(DIAMOND, DrawingFormat.DOT)

    assert text.startswith('digraph "diamond 2" {\n')
    assert 'n1 [label="left\\na.left\\nqueue slow", shape=box, style=filled,' in text
    assert 'n3 [label="end\\na.end\\njoin of 3", shape=hexagon' in text
    assert "    n0 -> n3;\n" in text
    assert "    n2 -> n3 [style=dashed];\n" in text


def test_svg_has_each_step_with_its_action_and_queue() -> None:
    svg = draw_plan(DIAMOND, DrawingFormat.SVG)

    assert list_texts(svg) == [
        "diamond 2",
        *("start", "a.start"),
        *("left", "a.left", "queue slow"),
        *("right", "a.right", "skipped if it fails"),
        *("end", "a.end", "join of 3"),
    ]
    root = ET.fromstring(svg)  # noqa: S314  # our own
    assert len(list(root.iter(f"{SVG}path"))) == 5 + 1  # the edges, and their tip
    assert "script" not in svg
    assert "prefers-color-scheme: dark" in svg


def test_svg_of_a_wide_plan_has_arrows_to_the_right() -> None:
    root = ET.fromstring(draw_plan(fan_out(9), DrawingFormat.SVG))  # noqa: S314  # our own

    curves = [path.get("d") or "" for path in root.iter(f"{SVG}path")]
    ends = [re.findall(r"[-\d.]+", curve) for curve in curves if " C" in curve]
    assert len(ends) == 18
    assert all(float(numbers[0]) < float(numbers[-2]) for numbers in ends)


@pytest.mark.parametrize("drawing_format", DrawingFormat)
def test_states_of_an_execution_are_written_and_coloured(
    drawing_format: DrawingFormat,
) -> None:
    states = {"start": "completed", "left": "running", "right": "skipped"}
    found = states_of({name: StepStatus(text) for name, text in states.items()})

    text = draw(picture_plan(DIAMOND, title="one", states=found), drawing_format)

    assert "skipped (failed)" in text.replace("#40;", "(").replace("#41;", ")")
    for status in states.values():
        assert status in text
        assert PAINTS[StepStatus(status)].light.fill in text


@pytest.mark.parametrize("status", StepStatus)
def test_every_state_has_its_colours(status: StepStatus) -> None:
    paint = PAINTS[status]

    for colours in (paint.light, paint.dark):
        contrast = _contrast(colours.fill, colours.text)
        assert contrast >= 7, f"{colours}: {contrast:.1f}"


def _contrast(one: str, other: str) -> float:
    """Return the ratio of two colours' brightness, as the rules for pages count it."""
    light, dark = sorted((_brightness(one), _brightness(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _brightness(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [
        p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts
    ]
    return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


# nothing escapes


@given(
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=30).filter(
        lambda text: text.isprintable() and " " not in text
    )
)
def test_any_name_stays_a_text(action: str) -> None:
    plan = Plan("named", steps=[Step("a", action=action, queue="]\"'`<&\\")])

    mermaid = draw_plan(plan, DrawingFormat.MERMAID)
    dot = draw_plan(plan, DrawingFormat.DOT)
    svg = draw_plan(plan, DrawingFormat.SVG)

    (label,) = re.findall(r'n0\["(.*)"\]', mermaid)
    inside = label.replace("<br/>", "")
    assert re.fullmatch(rf"(?:[\w .,()/…{TIMES}-]|#\d+;)*", inside)
    assert len(mermaid.splitlines()) == 5
    (quoted,) = re.findall(r'n0 \[label="((?:[^"\\]|\\.)*)", shape', dot)
    assert quoted == "a\\n" + "\\n".join(
        line.replace("&", "&amp;").replace("\\", "\\\\").replace('"', '\\"')
        for line in (action, "queue ]\"'`<&\\")
    )
    assert list_texts(svg)[2] in (action, "\ufffd" * len(action)) or "\ufffd" in svg


def test_a_long_name_is_cut_and_whole_in_a_hint() -> None:
    action = "package." + "module." * 20 + "action"
    svg = draw_plan(Plan("long", steps=[Step("a", action=action)]), DrawingFormat.SVG)

    assert max(map(len, list_texts(svg))) <= 36
    hints = [hint.text for hint in ET.fromstring(svg).iter(f"{SVG}title")]  # noqa: S314  # our own
    assert f"a\n{action}" in hints


# the layout


def check_layout(picture: Picture) -> Layout:
    """Lay a picture out and check that nothing overlaps and that edges go forward."""
    layout = lay_out(
        picture, [(80.0 + 5 * (i % 7), 40.0) for i in range(len(picture.nodes))]
    )
    boxes = layout.boxes
    for i, one in enumerate(boxes):
        for other in boxes[:i]:
            apart = (
                one.x + one.width < other.x
                or other.x + other.width < one.x
                or one.y + one.height < other.y
                or other.y + other.height < one.y
            )
            assert apart, (one, other)
    along = 1 if layout.runs_down else 0
    for points in layout.routes:
        ways = [point[along] for point in points]
        assert ways == sorted(ways)
    assert min(min(box.x, box.y) for box in boxes) > -0.01
    return layout


@st.composite
def graphs(draw_value: st.DrawFn) -> Picture:
    size = draw_value(st.integers(1, 25))
    needs = [
        sorted(draw_value(st.sets(st.integers(0, i - 1), max_size=3))) if i else []
        for i in range(size)
    ]
    steps = [
        Step(f"s{i}", action="a.b", needs=[f"s{need}" for need in wanted])
        for i, wanted in enumerate(needs)
    ]
    return picture_plan(Plan("drawn", steps=steps))


@given(graphs())
def test_boxes_lie_apart_and_edges_go_forward(picture: Picture) -> None:
    check_layout(picture)


def test_an_edge_passes_beside_the_nodes_between() -> None:
    steps = [
        Step("a", action="x", needs=[]),
        Step("b", action="x", needs=["a"]),
        Step("c", action="x", needs=["b"]),
        Step("d", action="x", needs=["a", "c"]),
    ]

    layout = check_layout(picture_plan(Plan("detour", steps=steps)))

    (far,) = [points for points in layout.routes if len(points) > 3]
    between = layout.boxes[1:3]
    for x, _ in far[2:-1]:
        assert all(x < box.x or x > box.x + box.width for box in between)


def test_edges_of_neighbours_do_not_cross() -> None:
    steps = [Step(f"top{i}", action="x", needs=[]) for i in range(5)]
    steps += [Step(f"low{i}", action="y", needs=[f"top{4 - i}"]) for i in range(5)]

    layout = check_layout(picture_plan(Plan("crossed", steps=steps)))

    across = 0 if layout.runs_down else 1
    starts = sorted(points[0][across] for points in layout.routes)
    by_start = sorted(layout.routes, key=lambda points: points[0][across])
    assert [points[-1][across] for points in by_start] == pytest.approx(starts)


def test_a_wide_plan_runs_to_the_right_and_a_long_one_down() -> None:
    assert not picture_plan(fan_out(9)).runs_down
    assert picture_plan(sequence(9)).runs_down


# folding


def describe(picture: Picture) -> list[tuple[str, int]]:
    return [(node.name, node.count) for node in picture.nodes]


def fold_to(plan: Plan, most: int) -> Picture:
    return fold(picture_plan(plan), most_nodes=most, most_edges=10_000)


def test_a_picture_that_is_small_enough_stays_as_it_is() -> None:
    picture = picture_plan(fan_out(8))

    assert fold(picture, most_nodes=10, most_edges=16) == picture


def test_steps_of_a_fan_out_become_one_node() -> None:
    folded = fold_to(fan_out(300), 200)

    assert describe(folded) == [("begin", 1), ("lane0_0", 300), ("end", 1)]
    assert folded.edges == (Edge(0, 1), Edge(1, 2))
    assert folded.nodes[1].lines[0] == f"lane0_0 … lane299_0 {TIMES}300"
    assert folded.notes == ("302 steps drawn as 3 nodes",)


def test_lanes_of_several_steps_fold_link_by_link() -> None:
    assert describe(fold_to(fan_out(100, length=3), 200)) == [
        ("begin", 1),
        *(("lane0_0", 100), ("lane0_1", 100), ("lane0_2", 100)),
        ("end", 1),
    ]


def test_lanes_that_differ_far_away_are_not_folded_together() -> None:
    steps = [Step("begin", action="a", needs=[])]
    for lane in range(4):
        before = "begin"
        for link in range(1_000):
            name = f"lane{lane}_{link}"
            action = f"end{lane % 2}" if link == 999 else "b"
            steps.append(Step(name, action=action, needs=[before]))
            before = name

    folded = fold_to(Plan("far", steps=steps), 3_000)

    assert len(folded.nodes) == 1 + 2 * 1_000
    assert {node.count for node in folded.nodes[1:]} == {2}


def test_steps_with_other_neighbours_are_not_folded_together() -> None:
    steps = [Step(f"root{i}", action=f"r.{i}", needs=[]) for i in range(2)]
    steps += [Step(f"part{i}", action="a.b", needs=[f"root{i % 2}"]) for i in range(10)]

    folded = fold_to(Plan("two", steps=steps), 5)

    assert describe(folded) == [("root0", 1), ("root1", 1), ("part0", 5), ("part1", 5)]


def test_many_edges_are_folded_as_well() -> None:
    folded = fold(picture_plan(fan_out(9)), most_nodes=100, most_edges=10)

    assert len(folded.nodes) == 3


def test_rows_of_steps_are_folded_where_no_fan_out_is() -> None:
    folded = fold_to(sequence(1_000), 500)

    (node,) = folded.nodes
    assert node.lines == (f"s0 … s999 {TIMES}1,000", "a.b", "one after another")
    assert folded.edges == ()


def test_what_cannot_be_folded_is_drawn_with_a_warning() -> None:
    steps = [Step("s0", action="a0", needs=[])]
    steps += [Step(f"s{i}", action=f"a{i}", needs=["s0"]) for i in range(1, 300)]

    text = draw_plan(Plan("unlike", steps=steps), DrawingFormat.MERMAID)

    assert text.count(" --> ") == 299
    assert "most programs refuse to draw so many" in text


def test_a_folded_node_counts_its_states_and_shows_the_worst() -> None:
    plan = fan_out(3)
    statuses: Sequence[StepStatus] = (
        *(StepStatus.COMPLETED, StepStatus.FAILED, StepStatus.COMPLETED),
    )
    states = states_of({f"lane{i}_0": s for i, s in enumerate(statuses)})

    folded = fold(picture_plan(plan, states=states), most_nodes=3, most_edges=9)

    assert folded.nodes[1].status is StepStatus.FAILED
    assert folded.nodes[1].lines[-1] == "1 failed, 2 completed"


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("drawing_format", DrawingFormat)
def test_the_largest_plan_is_drawn(drawing_format: DrawingFormat) -> None:
    text = draw_plan(fan_out(9_998), drawing_format)

    assert "10,000 steps drawn as 3 nodes" in text
    assert len(text) < 5_000
