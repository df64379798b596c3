"""Plans from canvases of Celery: what they become, and what is said to be lost."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery, Task, chain, chord, group, signature
from kombu.entity import Queue

from execution import Plan
from execution.errors import PlanValidationError
from execution.language.canvas_tasks import escape
from execution.language.texts import MAX_STEP_ID

app = Celery("canvas", broker="redis://nowhere", set_as_current=False)


def make_task(function: Callable[..., Any], **options: Any) -> Any:
    """Make a task of this module's app alone."""
    return app.task(shared=False, **options)(function)


def _add(left: int, right: int = 0) -> None: ...
def _total(numbers: list[int]) -> None: ...
def _spread(first: int, /, *rest: int, last: int = 0) -> None: ...
def _bound(self: object, n: int) -> None: ...
def _nothing() -> None: ...


add = make_task(_add, name="shop.add")
total = make_task(_total, name="shop.total")
spread = make_task(_spread, name="shop.spread")
nothing = make_task(_nothing, name="shop.nothing")


def draw(canvas: Any, **options: Any) -> dict[str, dict[str, Any]]:
    """Return the steps of the plan that a canvas makes, by their ids."""
    plan = Plan.from_canvas(canvas, name="drawn", **options)
    steps: Any = plan.definition["steps"]
    return {step.pop("id"): step for step in steps}


def list_faults(canvas: Any) -> list[str]:
    """Return the faults of a canvas, one a line."""
    with pytest.raises(PlanValidationError) as refusal:
        Plan.from_canvas(canvas, name="refused")
    return [str(fault) for fault in refusal.value.faults]


def list_lost_places(canvas: Any) -> list[str]:
    return [fault.partition(": ")[0] for fault in list_faults(canvas)]


def step(action: str, *needs: str, **inputs: Any) -> dict[str, Any]:
    """Return a step as it stands in a plan."""
    fields: dict[str, Any] = {"action": f"shop.{action}", "needs": list(needs)}
    return {**fields, "with": inputs} if inputs else fields


def result_of(name: str) -> str:
    return f"${{steps.{name}.result}}"


CANVASES: dict[str, tuple[Any, dict[str, dict[str, Any]], Any]] = {
    "task": (
        add.s(1, right=2),
        {"add": step("add", left=1, right=2)},
        result_of("add"),
    ),
    "chain": (
        chain(add.s(1, 2), add.s(3), add.si(4)),
        {
            "add": step("add", left=1, right=2),
            "add_2": step("add", "add", left=result_of("add"), right=3),
            "add_3": step("add", "add_2", left=4),
        },
        result_of("add_3"),
    ),
    "group": (
        group(add.s(1), add.s(2)),
        {"add": step("add", left=1), "add_2": step("add", left=2)},
        [result_of("add"), result_of("add_2")],
    ),
    "chord": (
        chord([add.s(1), nothing.s()], total.s()),
        {
            "add": step("add", left=1),
            "nothing": step("nothing"),
            "total": step(
                "total",
                "add",
                "nothing",
                numbers=[result_of("add"), result_of("nothing")],
            ),
        },
        result_of("total"),
    ),
    "chord_with_an_immutable_body": (
        chord([add.s(1)], nothing.si()),
        {"add": step("add", left=1), "nothing": step("nothing", "add")},
        result_of("nothing"),
    ),
    "chord_without_a_header": (
        chord([], total.s()),
        {"total": step("total", numbers=[])},
        result_of("total"),
    ),
    "group_in_a_chain": (
        chain(add.s(1), group(add.s(2), nothing.si()), total.s()),
        {
            "add": step("add", left=1),
            "add_2": step("add", "add", left=result_of("add"), right=2),
            "nothing": step("nothing", "add"),
            "total": step(
                "total",
                "add_2",
                "nothing",
                numbers=[result_of("add_2"), result_of("nothing")],
            ),
        },
        result_of("total"),
    ),
    "group_of_one_in_a_chain": (
        chain(add.s(1), group([add.s(2)]), add.s(3)),
        {
            "add": step("add", left=1),
            "add_2": step("add", "add", left=result_of("add"), right=2),
            "add_3": step("add", "add_2", left=result_of("add_2"), right=3),
        },
        result_of("add_3"),
    ),
    "group_after_a_group": (
        chain(group(add.s(1), add.s(2)), group(total.s(), nothing.si())),
        {
            "add": step("add", left=1),
            "add_2": step("add", left=2),
            "total": step(
                "total", "add", "add_2", numbers=[result_of("add"), result_of("add_2")]
            ),
            "nothing": step("nothing", "add", "add_2"),
        },
        [result_of("total"), result_of("nothing")],
    ),
    "chain_in_a_group": (
        group(chain(add.s(1), group(add.s(2), add.s(3))), add.s(4)),
        {
            "add": step("add", left=1),
            "add_2": step("add", "add", left=result_of("add"), right=2),
            "add_3": step("add", "add", left=result_of("add"), right=3),
            "add_4": step("add", left=4),
        },
        [[result_of("add_2"), result_of("add_3")], result_of("add_4")],
    ),
    "group_in_a_group": (
        group(group(add.s(1), add.s(2)), add.s(3)),
        {f"add{n}": step("add", left=m) for n, m in (("", 1), ("_2", 2), ("_3", 3))},
        [result_of("add"), result_of("add_2"), result_of("add_3")],
    ),
    "empty_group_in_a_chain": (
        chain(add.s(1), group([]), add.s(2)),
        {
            "add": step("add", left=1),
            "add_2": step("add", "add", left=result_of("add"), right=2),
        },
        result_of("add_2"),
    ),
    "positions": (
        chain(add.s(1), spread.s(2, 3, last=4)),
        {
            "add": step("add", left=1),
            "spread": step(
                "spread", "add", first=result_of("add"), rest=[2, 3], last=4
            ),
        },
        result_of("spread"),
    ),
}


@pytest.mark.parametrize("name", CANVASES)
def test_a_canvas_becomes_steps(name: str) -> None:
    canvas, steps, _ = CANVASES[name]

    assert draw(canvas) == steps


@pytest.mark.parametrize("name", CANVASES)
def test_the_result_is_that_of_the_canvas(name: str) -> None:
    canvas, _, result = CANVASES[name]

    assert Plan.from_canvas(canvas, name="drawn").definition["result"] == result


def test_a_canvas_that_came_as_json_needs_names_alone() -> None:
    canvas = chain(add.si(left=1), group(add.si(left=2), nothing.si()))

    assert draw(json.loads(json.dumps(canvas))) == draw(canvas)


def test_an_app_names_what_a_canvas_from_json_gives_by_position() -> None:
    canvas = chord([add.s(1), chain(add.s(2), add.s(3))], total.s())

    restored = signature(json.loads(json.dumps(canvas)), app=app)

    assert draw(restored) == draw(canvas)


def test_a_canvas_is_left_as_it_was() -> None:
    canvas = chord([add.s(1).set(queue="q")], total.s().set(link=[nothing.si()]))
    before = json.dumps(canvas)

    draw(canvas)

    assert json.dumps(canvas) == before


def test_a_link_is_a_step_whose_failure_is_skipped() -> None:
    sent = chain(add.s(1), nothing.si())
    canvas = chain(add.s(2).set(link=sent), add.s(3)).set(link=nothing.si())

    steps = draw(canvas)

    skipped = {"on_failure": "skip"}
    assert steps == {
        "add": step("add", left=2),
        "add_2": step("add", "add", left=result_of("add"), right=1) | skipped,
        "nothing": step("nothing", "add_2") | skipped,
        "add_3": step("add", "add", left=result_of("add"), right=3),
        "nothing_2": step("nothing", "add_3") | skipped,
    }


def test_the_result_is_not_that_of_a_link() -> None:
    canvas = add.s(1).set(link=[add.s(2)])

    plan = Plan.from_canvas(canvas, name="linked")

    assert plan.definition["result"] == result_of("add")


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        ({"queue": "q"}, {"queue": "q"}),
        ({"queue": Queue("named")}, {"queue": "named"}),  # type: ignore[no-untyped-call]  # kombu ships no types
        ({"time_limit": 90}, {"timeout": "90s"}),
        ({"time_limit": 0.25}, {"timeout": "250ms"}),
        ({"priority": 0}, {"priority": 9}),
        ({"priority": 7}, {"priority": 2}),
        ({"task_id": "x", "retry": True, "retry_policy": {}, "shadow": "y"}, {}),
        ({"expires": None, "link_error": []}, {}),
    ],
)
def test_options_become_policies(
    options: dict[str, Any], fields: dict[str, Any]
) -> None:
    assert draw(nothing.s().set(**options)) == {"nothing": step("nothing") | fields}


@pytest.mark.parametrize(
    ("broker", "priority"),
    [
        ("redis://host", 9 - 3),
        ("redis+socket:///path", 9 - 3),
        ("sentinel://a;sentinel://b", 9 - 3),
        ("amqp://host", 3),
        (["pyamqp://one", "pyamqp://two"], 3),
    ],
)
def test_the_higher_priority_depends_on_the_broker(broker: Any, priority: int) -> None:
    other = Celery("other", set_as_current=False)
    other.conf.broker_url = broker
    canvas = other.signature("shop.any").set(priority=3)

    assert draw(canvas)["any"]["priority"] == priority


def test_without_a_broker_a_priority_says_nothing() -> None:
    (fault,) = list_faults(json.loads(json.dumps(nothing.s().set(priority=3))))

    assert fault.startswith("task.options.priority: is the highest on one broker")


def test_options_of_a_whole_go_where_celery_puts_them() -> None:
    canvas = group(
        chain(nothing.si(), nothing.si()).set(queue="chain"),
        chord([nothing.si().set(queue="own")], nothing.si()).set(queue="chord"),
    )

    steps = draw(canvas.set(priority=4))

    placed = [(step.get("queue"), step.get("priority")) for step in steps.values()]
    assert placed == [("chain", 5), (None, None), ("chord", 5), ("chord", 5)]


def test_a_header_may_be_a_group_with_options() -> None:
    header = group(nothing.si(), nothing.si()).set(queue="header")
    canvas = chord([], nothing.si())
    canvas["kwargs"]["header"] = header

    steps = draw(canvas)

    assert [step.get("queue") for step in steps.values()] == ["header", "header", None]


def test_a_task_that_does_not_tell_its_parameters_is_unknown() -> None:
    class Silent(Task):  # type: ignore[misc]  # Celery ships no types
        name = "shop.silent"
        run: Any = staticmethod(dict)

    silent = app.register_task(Silent())

    assert list_lost_places(silent.s(1)) == ["task.args"]


@pytest.mark.parametrize(
    ("options", "attempts"),
    [
        ({"bind": True}, 4),
        ({"bind": True, "max_retries": 9}, 10),
        ({"bind": True, "max_retries": None}, 1000),
        ({"bind": True, "max_retries": 0}, None),
        ({"autoretry_for": (OSError,)}, 4),
        ({}, None),
    ],
    ids=["bound", "many", "endless", "never", "autoretry", "plain"],
)
def test_a_task_that_can_ask_is_tried_again(
    options: dict[str, Any], attempts: int | None
) -> None:
    function = _bound if options.get("bind") else _total
    task = make_task(function, name=f"shop.try{len(app.tasks)}", **options)

    (drawn,) = draw(task.s(1)).values()

    policy = drawn.get("retry", {})
    assert policy.get("attempts") == attempts
    assert policy.get("on", ["execution.RetryableError"]) == [
        "execution.RetryableError"
    ]


@pytest.mark.parametrize(
    ("names", "ids"),
    [
        (["a.charge", "b.charge", "charge"], ["charge", "charge_2", "charge_3"]),
        (["charge_2", "charge", "charge"], ["charge_2", "charge", "charge_3"]),
        (["charge", "charge", "charge_2"], ["charge", "charge_2", "charge_2_2"]),
        (["shop.Send-Mail"], ["send_mail"]),
        (["shop.import", "shop.null"], ["step_import", "step_null"]),
        (["shop._", "shop.2nd", "dot."], ["step", "step_2nd", "step_2"]),
        (["ä" * 5, "x" * 70, "x" * 70], ["step", "x" * 63, "x" * 61 + "_2"]),
    ],
)
def test_ids_are_made_of_names(names: list[str], ids: list[str]) -> None:
    signatures = [app.signature(name, immutable=True) for name in names]

    drawn = list(draw(group(signatures)))

    assert drawn == ids
    assert all(len(name) <= MAX_STEP_ID for name in drawn)


@pytest.mark.parametrize(
    ("value", "escaped"),
    [
        ("${x}", "$${x}"),
        ("$${x}", "$$${x}"),
        ("$x {y}", "$x {y}"),
        ({"${k}": ["${v}", ("${w}",)]}, {"${k}": ["$${v}", ["$${w}"]]}),
        (3, 3),
    ],
)
def test_texts_are_no_templates(value: object, escaped: object) -> None:
    assert escape(value) == escaped


@pytest.mark.parametrize(
    ("canvas", "places"),
    [
        (
            chain(add.s(1), add.s(2), add.s(3).set(link_error=[nothing.si()])),
            ["chain[2].options.link_error"],
        ),
        (
            add.s(1).set(countdown=1, eta="x", expires=2, soft_time_limit=3, odd=4),
            [
                f"task.options.{name}"
                for name in ("countdown", "eta", "expires", "soft_time_limit", "odd")
            ],
        ),
        (add.s(1).set(headers={"a": 1}), ["task.options.headers"]),
        (add.s(1).set(exchange="e"), ["task.options.exchange"]),
        (add.s(1).set(time_limit="1"), ["task.options.time_limit"]),
        (add.s(1).set(priority=10), ["task.options.priority"]),
        (
            chord([add.s(1), chain(add.s(2), add.s(3).set(expires=1))], total.s()),
            ["chord.header[1].chain[1].options.expires"],
        ),
        (
            chain(add.s(1), chord([add.s(2)], total.s().set(expires=1))),
            ["chain[1].body.options.expires"],
        ),
        (
            group(add.s(1)).set(expires=1, link=[nothing.si()]),
            ["group.options.expires", "group.options.link"],
        ),
        (add.s(1, 2, 3), ["task.args[2]"]),
        (add.s(1, left=2), ["task.kwargs.left"]),
        (chain(add.s(1), nothing.s()), ["chain[1]"]),
        (app.signature("shop.unknown", (1, 2)), ["task.args"]),
        (chain(add.s(1), app.signature("shop.unknown", (2,))), ["chain[1]"]),
        (chain(add.s(1), add.map([1])), ["chain[1]"]),
        (chord([group(add.s(1), add.s(2)), add.s(3)], total.s()), ["chord.header[0]"]),
        ({**chain(add.s(1), add.s(2)), "args": (3,)}, ["chain.args"]),
        (
            {**chord([add.s(1)], total.s(), kwargs={"kwargs": {"right": 3}})},
            ["chord.kwargs.right"],
        ),
        (group(add.s(1), "no signature"), ["group[1]"]),
        (group(add.s(1), {"subtask_type": "chain"}), ["group[1]"]),
        (
            {**chain(add.s(1)), "kwargs": {"tasks": [{"subtask_type": "group"}]}},
            ["chain[0]", "steps"],
        ),
        (chord([add.s(1)], None), ["chord.body"]),
        (add.s(object()), ["task.args[0]"]),
        (
            group(add.s(1), add.s(2, right={"deep": object()})),
            ["group[1].kwargs.right.deep"],
        ),
        (chain(add.s(1), spread.s(2, object())), ["chain[1].args[1]"]),
        (spread.s(1, {"a": [object()]}), ["task.args[1].a[0]"]),
        pytest.param(add.s("x" * 300_000), ["task.with"], id="long"),
        (nothing.s().set(queue="a b"), ["task.queue"]),
        (add.s("secret://token"), ["task.args[0]"]),
        (add.s(1, right=[{"a": "secret://token"}]), ["task.kwargs.right"]),
        (spread.s(1, 2, "secret://token"), ["task.args"]),
    ],
)
def test_what_is_lost_is_listed_with_its_place(canvas: Any, places: list[str]) -> None:
    assert list_lost_places(canvas) == places


@pytest.mark.parametrize(
    "canvas", [chain(), group([]), 5, {"task": "x"}, {"kwargs": {}}]
)
def test_without_tasks_there_is_no_plan(canvas: Any) -> None:
    assert "steps: must not be empty" in list_faults(canvas)


def test_nesting_has_an_end() -> None:
    canvas: Any = add.s(1)
    for _ in range(150):
        canvas = group(canvas, add.s(2))

    assert any("nested deeper than" in fault for fault in list_faults(canvas))


def test_a_lossy_plan_warns_of_what_it_lacks() -> None:
    canvas = chain(add.s(1).set(expires=5), add.map([1]), add.s(2))

    plan = Plan.from_canvas(canvas, name="lossy", lossy=True)

    assert [step.name for step in plan.steps] == ["add", "add_2"]
    assert [str(warning).partition(": ")[0] for warning in plan.warnings[1:]] == [
        "chain[0].options.expires",
        "chain[1]",
    ]


def test_faults_of_the_plan_are_faults_however_lossy() -> None:
    with pytest.raises(PlanValidationError, match="name"):
        Plan.from_canvas(add.s(1), name="no name", lossy=True)
