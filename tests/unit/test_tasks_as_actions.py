"""Which tasks of a Celery app are actions, and what is read off them."""

from collections.abc import Callable
from inspect import Parameter
from typing import Any

import pytest
from celery import Celery, Task
from pydantic import BaseModel

from execution.actions import Action
from execution.celery.tasks import TaskActions, build_action
from execution.dispatcher import STEP_TASK
from execution.errors import ActionInputError


@pytest.fixture
def app() -> Celery:
    """An app that nobody runs."""
    return Celery("unit", set_as_current=False)


def add(app: Celery, function: Callable[..., Any], **options: Any) -> Any:
    """Make a task of `function`, of this app alone, and return it."""
    return app.task(**{"name": "unit.task", "shared": False, **options})(function)


def build(app: Celery, function: Callable[..., Any], **options: Any) -> Action:
    """Make a task of `function` and return it as an action."""
    return build_action(add(app, function, **options))


class StandIn:
    """What a call needs to know of its step."""

    idempotency_key = "execution:step"
    execution_id = "execution"
    attempt = 1


def nothing() -> None:
    """Do nothing."""


def take(a: int, /, b: int = 2, *more: int, c: int = 3, **rest: int) -> tuple[Any, ...]:
    """Return what came in."""
    return a, b, more, c, rest


def test_the_users_tasks_alone_are_actions(app: Celery) -> None:
    for name in ("shop.charge", STEP_TASK, "not an action"):
        add(app, nothing, name=name)

    # what other tests of this process share with every app may be there, too
    names = set(TaskActions(app).list_names())
    assert "shop.charge" in names
    assert names.isdisjoint({STEP_TASK, "not an action"})
    assert not any(name.startswith("celery.") for name in names)


@pytest.mark.parametrize("name", ["celery.chain", STEP_TASK, "nobody"])
def test_nothing_else_is_found(app: Celery, name: str) -> None:
    add(app, nothing, name=STEP_TASK)

    assert TaskActions(app).find(name) is None


def test_a_task_that_is_registered_anew_is_the_one_that_is_found(app: Celery) -> None:
    tasks = TaskActions(app)
    add(app, nothing)
    first = tasks.find("unit.task")
    assert tasks.find("unit.task") is first

    del app.tasks["unit.task"]
    add(app, take)

    found = tasks.find("unit.task")
    assert found is not None
    assert found.call(StandIn(), {"a": 1})[0] == 1


def test_the_tasks_of_one_app_are_one_source(app: Celery) -> None:
    assert TaskActions(app) == TaskActions(app)
    assert hash(TaskActions(app)) == hash(TaskActions(app))
    assert TaskActions(app) != TaskActions(Celery("other", set_as_current=False))
    assert TaskActions(app) != app


def test_a_task_is_described_by_its_own_words(app: Celery) -> None:
    def charge(self: object, amount: int, currency: str = "EUR") -> None:
        """Charge somebody."""

    described = build(app, charge, bind=True).describe()

    assert described["doc"] == "Charge somebody."
    assert described["signature"]["parameters"] == [
        {
            "name": "amount",
            "hint": "int",
            "required": True,
            "schema": {"type": "integer"},
        },
        {
            "name": "currency",
            "hint": "str",
            "schema": {"type": "string"},
            "default": "EUR",
        },
    ]


def test_parameters_by_position_are_described_as_inputs(app: Celery) -> None:
    signature = build(app, take).describe()["signature"]

    hints = {p["name"]: p["hint"] for p in signature["parameters"]}
    assert hints == {"a": "int", "b": "int", "more": "list[int]", "c": "int"}
    assert signature["more"] == {"type": "integer"}


@pytest.mark.parametrize(
    ("hint", "described"), [("int", "list[int]"), (Parameter.empty, "list")]
)
def test_what_is_spread_is_a_list_of_what_it_is_said_to_be(
    app: Celery, hint: Any, described: str
) -> None:
    def spread(*more: object) -> None: ...

    spread.__annotations__ = {} if hint is Parameter.empty else {"more": hint}

    (parameter,) = build(app, spread).describe()["signature"]["parameters"]

    assert parameter["hint"] == described


def test_models_are_left_to_celery(app: Celery) -> None:
    class Order(BaseModel):
        number: int

    def plain(order: Order) -> object:
        return type(order).__name__

    def filled(order: Order) -> object:
        return type(order).__name__

    kept = build(app, plain, name="unit.plain")
    made = build(app, filled, name="unit.filled", pydantic=True)

    inputs = {"order": {"number": 1}}
    assert (kept.call(StandIn(), inputs), made.call(StandIn(), inputs)) == (
        "dict",
        "Order",
    )


def test_a_class_without_docs_of_its_own_has_those_of_its_code(app: Celery) -> None:
    class Silent(Task):  # type: ignore[misc]  # Celery ships no types
        name = "unit.silent"

        def run(self, n: int) -> None: ...

    class Told(Silent):
        """Counts."""

        name = "unit.told"

    silent, told = (build_action(app.register_task(t())) for t in (Silent, Told))

    assert (silent.describe()["doc"], told.describe()["doc"]) == (None, "Counts.")


def test_code_that_does_not_tell_its_parameters_takes_any(app: Celery) -> None:
    class Silent(Task):  # type: ignore[misc]  # Celery ships no types
        name = "unit.silent"
        run: Any = staticmethod(dict)

    action = build_action(app.register_task(Silent()))

    assert action.check_inputs({"any": 1}) is None
    assert action.call(StandIn(), {"any": 1}) == {"any": 1}


@pytest.mark.parametrize(
    ("inputs", "result"),
    [
        ({"a": 1}, (1, 2, (), 3, {})),
        ({"a": 1, "b": 5, "c": 6}, (1, 5, (), 6, {})),
        ({"a": 1, "more": [7, 8]}, (1, 2, (7, 8), 3, {})),
        ({"a": 1, "x": 9}, (1, 2, (), 3, {"x": 9})),
    ],
)
def test_inputs_go_where_the_parameters_are(
    app: Celery, inputs: dict[str, Any], result: tuple[Any, ...]
) -> None:
    action = build(app, take)

    assert action.check_inputs(inputs) is None
    assert action.call(StandIn(), inputs) == result


def test_only_a_list_is_spread(app: Celery) -> None:
    with pytest.raises(
        ActionInputError, match=r"'more' of unit\.task .* must be a list"
    ):
        build(app, take).call(StandIn(), {"a": 1, "more": "xyz"})


def test_a_missing_argument_by_position_is_a_misfit(app: Celery) -> None:
    assert "missing a required argument: 'a'" in str(
        build(app, take).check_inputs({"b": 1})
    )


@pytest.mark.parametrize(
    ("options", "seconds"),
    [
        ({}, None),
        ({"time_limit": 5}, 5.0),
        ({"soft_time_limit": 4}, 4.0),
        ({"time_limit": 5, "soft_time_limit": 4}, 5.0),
    ],
)
def test_the_time_limit_is_the_timeout(
    app: Celery, options: dict[str, Any], seconds: float | None
) -> None:
    assert build(app, take, **options).timeout_seconds == seconds


def test_the_time_limit_of_the_app_holds_for_its_tasks(app: Celery) -> None:
    app.conf.task_time_limit = 60

    assert build(app, take).timeout_seconds == 60.0


@pytest.mark.parametrize(
    ("routes", "queue"),
    [
        (None, None),
        ({"other.*": "elsewhere"}, None),
        ({"unit.*": "here"}, "here"),
        ({"unit.task": {"queue": "there", "priority": 3}}, "there"),
        ({"unit.task": {"routing_key": "key"}}, None),
        ([lambda name, *_, **__: name + ".queue"], "unit.task.queue"),
        ([lambda name, args, *_, **__: args[0]], None),
    ],
    ids=["none", "another", "pattern", "mapping", "no_queue", "function", "asks_args"],
)
def test_the_queue_is_that_of_the_apps_routes(
    app: Celery, routes: Any, queue: str | None
) -> None:
    app.conf.task_routes = routes

    action = build(app, take)

    assert action.queue == queue
    assert action.describe().get("queue") == queue


def test_looking_a_route_up_adds_no_queue(app: Celery) -> None:
    app.conf.task_routes = {"unit.*": "here"}

    build(app, take)

    assert list(app.amqp.queues) == ["celery"]
