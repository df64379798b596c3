"""Actions: the decorator, the registry, and how they are called and described."""

import asyncio
import json
import re
import sys
from collections.abc import Callable
from typing import Any, Optional

import pytest

from execution import Context
from execution.actions import (
    ActionRegistry,
)
from execution.errors import ActionExitError, ActionRegistrationError

CONTEXT = object()
"""What stands for the context: an action's call only hands it on."""


def add(function: Callable[..., Any], timeout: str | None = None) -> Any:
    """Register `function` in a registry of its own and return the action."""
    return ActionRegistry().add("test.unit", function, timeout)


def plain(x: int, y: int = 2) -> int:
    """Add two numbers.

    More about that.
    """
    return x + y


async def later(x: int) -> int:
    await asyncio.sleep(0)
    return x + 1


def named_ctx(ctx: Any, x: int) -> tuple[Any, int]:
    return ctx, x


def annotated(where: Context, x: int) -> tuple[Any, int]:
    return where, x


def annotated_as_text(where: "Context", x: int) -> tuple[Any, int]:
    return where, x


def annotated_by_path(where: "execution.Context", x: int) -> tuple[Any, int]:  # type: ignore[name-defined]  # noqa: F821  # never evaluated
    return where, x


async def later_with_ctx(ctx: Context, x: int) -> tuple[Any, int]:
    return ctx, x


def unrelated(context: int, ctx: int = 1) -> tuple[int, int]:
    return context, ctx


def of_no_parameter() -> str:
    return "nothing"


def of_any_parameter(**values: int) -> dict[str, int]:
    return values


def loosely(first: Optional[dict[str, int]]) -> object:  # noqa: UP045  # an annotation without a name
    return first


class Tool:
    """A class of the user's own, whose methods and calls may be actions."""

    @staticmethod
    def measure(x: int) -> int:
        return x

    def weigh(self, x: int) -> int:
        return x


@pytest.mark.parametrize(
    ("function", "takes_context"),
    [
        (plain, False),
        (named_ctx, True),
        (annotated, True),
        (annotated_as_text, True),
        (annotated_by_path, True),
        (later_with_ctx, True),
        (unrelated, False),
        (of_no_parameter, False),
        (of_any_parameter, False),
        (loosely, False),
        (Tool.measure, False),
        (Tool().weigh, False),
    ],
)
def test_the_context_is_given_to_who_asks_for_it(
    function: Callable[..., Any], takes_context: bool
) -> None:
    assert add(function).takes_context is takes_context


@pytest.mark.parametrize(
    ("function", "inputs", "result"),
    [
        (plain, {"x": 1}, 3),
        (plain, {"y": 5, "x": 1}, 6),
        (later, {"x": 1}, 2),
        (named_ctx, {"x": 1}, (CONTEXT, 1)),
        (annotated, {"x": 1}, (CONTEXT, 1)),
        (later_with_ctx, {"x": 1}, (CONTEXT, 1)),
        (unrelated, {"context": 3}, (3, 1)),
        (of_no_parameter, {}, "nothing"),
        (of_any_parameter, {"a": 1, "self": 2}, {"a": 1, "self": 2}),
        (Tool().weigh, {"x": 1}, 1),
    ],
)
def test_an_action_is_called_with_its_inputs(
    function: Callable[..., Any], inputs: dict[str, Any], result: object
) -> None:
    assert add(function).call(CONTEXT, inputs) == result


def test_an_error_of_the_code_comes_through() -> None:
    async def fail() -> None:
        raise LookupError("not there")

    with pytest.raises(LookupError, match="not there"):
        add(fail).call(CONTEXT, {})


@pytest.mark.parametrize("code", [None, 0, 1, "no files"])
def test_an_action_that_exits_has_failed(code: object) -> None:
    def leave() -> None:
        sys.exit(code)  # type: ignore[arg-type]  # as programs do

    with pytest.raises(ActionExitError, match=r"test\.unit called sys\.exit"):
        add(leave).call(CONTEXT, {})


def test_an_action_that_cancels_itself_has_failed() -> None:
    async def cancel() -> None:
        raise asyncio.CancelledError

    with pytest.raises(ActionExitError, match="was cancelled inside"):
        add(cancel).call(CONTEXT, {})


class WorkerShutdown(SystemExit):
    """What Celery raises to end a worker."""


@pytest.mark.parametrize("end", [SystemExit(-241), WorkerShutdown(0)])
def test_the_end_of_the_process_is_not_the_actions(end: SystemExit) -> None:
    def be_ended() -> None:
        raise end

    with pytest.raises(SystemExit) as ending:
        add(be_ended).call(CONTEXT, {})

    assert ending.value is end


@pytest.mark.parametrize(
    ("function", "inputs", "complaint"),
    [
        (plain, {"x": 1}, None),
        (plain, {"x": 1, "y": 2}, None),
        (plain, {}, "missing a required argument: 'x'"),
        (plain, {"x": 1, "z": 3}, "got an unexpected keyword argument 'z'"),
        (named_ctx, {"x": 1}, None),
        (named_ctx, {"x": 1, "ctx": 2}, "multiple values for argument 'ctx'"),
        (of_any_parameter, {"anything": 1}, None),
    ],
)
def test_inputs_are_checked_by_their_names(
    function: Callable[..., Any], inputs: dict[str, Any], complaint: str | None
) -> None:
    found = add(function).check_inputs(inputs)

    assert (found is None) if complaint is None else (complaint in str(found))


def test_a_complaint_shows_how_the_action_is_called() -> None:
    complaint = add(plain).check_inputs({})

    assert str(complaint).endswith("test.unit(x: int, y: int = 2) -> int")


@pytest.mark.parametrize(
    ("function", "timeout", "doc", "parameters", "seconds"),
    [
        (plain, None, "Add two numbers.\n\nMore about that.", ["x", "y"], None),
        (annotated, "1m30s", None, ["x"], 90.0),
        (of_any_parameter, "250ms", None, [], 0.25),
        (of_no_parameter, "0s", None, [], 0.0),
    ],
)
def test_the_catalogue_describes_an_action(
    function: Callable[..., Any],
    timeout: str | None,
    doc: str | None,
    parameters: list[str],
    seconds: float | None,
) -> None:
    described = add(function, timeout).describe()

    signature = described.pop("signature")
    assert described == {"name": "test.unit", "doc": doc, "timeout_seconds": seconds}
    assert [parameter["name"] for parameter in signature["parameters"]] == parameters


def test_the_catalogue_is_sorted_json() -> None:
    actions = ActionRegistry()
    actions.add("b", plain, None)
    actions.add("a", later, None)

    assert [entry["name"] for entry in json.loads(actions.to_json())] == ["a", "b"]
    assert len(actions) == 2


def test_the_catalogue_says_what_an_action_uses() -> None:
    known = ActionRegistry()
    known.add("test.uses", plain, None, uses=["stripe", "mail", "stripe"])

    assert known.get("test.uses").describe()["uses"] == ["mail", "stripe"]


@pytest.mark.parametrize(
    ("uses", "message"),
    [
        (["Stripe"], "action 'test.uses': 'Stripe' in uses must be a lower-case"),
        ("stripe", "uses='stripe' is one text; write uses=['stripe']"),
    ],
)
def test_what_an_action_uses_has_a_name(uses: Any, message: str) -> None:
    with pytest.raises(ActionRegistrationError, match=re.escape(message)):
        ActionRegistry().add("test.uses", plain, None, uses=uses)
