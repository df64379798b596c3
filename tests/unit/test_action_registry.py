"""Actions by name: the registry, the decorator, and modules that register theirs."""

import asyncio
import functools
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from execution import action
from execution.actions import (
    Action,
    ActionFunction,
    ActionRegistry,
    import_actions,
    registry,
)
from execution.errors import ActionRegistrationError, SettingsError
from tests.unit.test_actions import CONTEXT, add, later, plain


def test_an_unknown_name_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        ActionRegistry().get("nobody")


def test_a_name_belongs_to_one_function() -> None:
    actions = ActionRegistry()
    actions.add("taken", plain, None)

    with pytest.raises(ActionRegistrationError) as refusal:
        actions.add("taken", later, None)

    assert str(refusal.value) == (
        f"action 'taken' is registered twice: by {plain.__module__}.plain"
        f" and by {later.__module__}.later; give one of them another name"
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


class Others:
    """A source of actions that did not register themselves."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def find(self, name: str) -> Action | None:
        """Return one for each of the names."""
        if name not in self.names:
            return None
        return Action(name, later, False, True, None, queue=f"{name}s")

    def list_names(self) -> tuple[str, ...]:
        """Return the names."""
        return self.names


def test_sources_are_asked_for_what_did_not_register_itself() -> None:
    actions = ActionRegistry()
    actions.add("own", plain, None)
    for source in (Others("first"), Others("own", "second")):
        actions.add_source(source)

    assert actions.get("own").function is plain
    assert actions.get("second").function is later
    assert actions.list_names() == ["first", "own", "second"]
    assert len(actions) == 3
    with pytest.raises(KeyError):
        actions.get("third")


def test_a_source_is_known_once() -> None:
    actions, source = ActionRegistry(), Others("one")

    for _ in range(2):
        actions.add_source(source)

    assert actions._sources == [source]


def test_the_catalogue_tells_the_queue_of_those_that_have_one() -> None:
    actions = ActionRegistry()
    actions.add("own", plain, None)
    actions.add_source(Others("other"))

    entries = json.loads(actions.to_json())

    assert [entry.get("queue") for entry in entries] == ["others", None]


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
