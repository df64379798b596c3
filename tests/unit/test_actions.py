"""Actions: the decorator, the registry, and how they are called and described."""

import asyncio
import functools
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Optional

import pytest

from execution import Context, action
from execution.actions import (
    ActionFunction,
    ActionRegistry,
    import_actions,
    registry,
)
from execution.errors import ActionRegistrationError, SettingsError

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
        (plain, None, "Add two numbers.", ["x: int", "y: int = 2"], None),
        (annotated, "1m30s", None, ["x: int"], 90.0),
        (of_any_parameter, "250ms", None, ["**values: int"], 0.25),
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
    assert add(function, timeout).describe() == {
        "name": "test.unit",
        "doc": doc,
        "signature": {"parameters": parameters},
        "timeout_seconds": seconds,
    }


def test_the_catalogue_is_sorted_json() -> None:
    actions = ActionRegistry()
    actions.add("b", plain, None)
    actions.add("a", later, None)

    assert [entry["name"] for entry in json.loads(actions.to_json())] == ["a", "b"]
    assert len(actions) == 2


def test_an_unknown_name_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        ActionRegistry().get("nobody")


def test_a_name_belongs_to_one_function() -> None:
    actions = ActionRegistry()
    actions.add("taken", plain, None)

    with pytest.raises(ActionRegistrationError) as refusal:
        actions.add("taken", later, None)

    assert str(refusal.value) == (
        f"action 'taken' is registered twice: by {__name__}.plain and by"
        f" {__name__}.later; give one of them another name"
    )


def test_a_refused_second_registration_changes_nothing() -> None:
    actions = ActionRegistry()
    actions.add("taken", plain, None)

    with pytest.raises(ActionRegistrationError):
        actions.add("taken", later, None)

    assert actions.get("taken").function is plain


def test_a_module_may_be_loaded_again() -> None:
    actions = ActionRegistry()
    actions.add("same", plain, None)
    reloaded = functools.wraps(plain)(lambda x: x)

    actions.add("same", reloaded, "5s")

    assert actions.get("same").function is reloaded
    assert actions.get("same").timeout_seconds == 5.0


@pytest.mark.parametrize("name", ["a", "census.parse", "é/Δ:1", "x" * 200])
def test_a_name_may_be_any_word(name: str) -> None:
    assert ActionRegistry().add(name, plain, None).name == name


@pytest.mark.parametrize(
    "name", ["", " ", "a b", "a\tb", "a\n", "a\x00b", "a\u200bb", "a\ud800", "x" * 201]
)
def test_a_malformed_name_is_refused(name: str) -> None:
    with pytest.raises(ActionRegistrationError, match="1 to 200 printable"):
        ActionRegistry().add(name, plain, None)


def test_positional_parameters_are_refused() -> None:
    def by_place(x: int, /) -> None: ...

    def by_many_places(*xs: int) -> None: ...

    for function, parameter in ((by_place, "'x'"), (by_many_places, "'xs'")):
        with pytest.raises(ActionRegistrationError, match=parameter):
            add(function)


@pytest.mark.parametrize("timeout", ["", "30", "soon", "-1s", "4000d"])
def test_a_timeout_that_is_no_duration_is_refused(timeout: str) -> None:
    with pytest.raises(ActionRegistrationError, match=r"test\.unit.*timeout="):
        add(plain, timeout)


@pytest.fixture
def own_name() -> Iterator[str]:
    """A name in the registry of the process, which is gone after the test."""
    yield "test.unit.decorated"
    registry._actions.pop("test.unit.decorated", None)


def test_the_decorator_registers_and_leaves_the_function_as_it_was(
    own_name: str,
) -> None:
    @action(own_name, timeout="2s")
    def double(x: int) -> int:
        return 2 * x

    assert double(4) == 8
    assert double.action_name == own_name
    assert isinstance(double, ActionFunction)
    assert registry.get(own_name).timeout_seconds == 2.0


def test_the_decorator_leaves_an_async_function_awaitable(own_name: str) -> None:
    @action(own_name)
    async def double(x: int) -> int:
        return 2 * x

    assert asyncio.run(double(4)) == 8
    assert registry.get(own_name).call(CONTEXT, {"x": 5}) == 10


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with modules in it; the search path is put back after."""
    (tmp_path / "plans_good.py").write_text("LOADED = True\n")
    (tmp_path / "plans_needy.py").write_text("import plans_that_is_not_there\n")
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p != str(tmp_path)])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_action_modules_are_found_in_the_working_directory(project: Path) -> None:
    import_actions(["json", "plans_good"])

    assert sys.modules.pop("plans_good").__file__ == str(project / "plans_good.py")


def test_the_working_directory_is_entered_once(project: Path) -> None:
    import_actions([])
    import_actions([])

    assert sys.path.count(str(project)) == 1


@pytest.mark.parametrize(
    ("module", "cause"),
    [
        ("plans_absent", "No module named 'plans_absent'"),
        ("plans_needy", "No module named 'plans_that_is_not_there'"),
        ("plans_good.inner", "'plans_good' is not a package"),
    ],
)
@pytest.mark.usefixtures("project")
def test_a_module_that_does_not_import_is_named(module: str, cause: str) -> None:
    with pytest.raises(SettingsError, match=cause) as refusal:
        import_actions([module])

    assert str(refusal.value).startswith(f"PLANS_IMPORTS names '{module}'")
