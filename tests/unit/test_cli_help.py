"""The help of every command: it has examples, and they are right."""

import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer.main

from execution.cli import app as frame


def list_commands() -> Iterator[tuple[str, Any]]:
    """Yield every command by its whole name."""
    for name in frame._COMMANDS:
        command = frame._load(name)
        inner = getattr(command, "commands", {})
        yield from ((f"{name} {each}", inner[each]) for each in inner)
        if not inner:
            yield name, command


COMMANDS = dict(list_commands())


def list_examples(command: Any) -> list[str]:
    """Return what the help shows as something to type."""
    lines = [line.strip() for line in (command.help or "").splitlines()]
    return [line for line in lines if line.startswith("plans ")]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example_that_can_be_typed(name: str) -> None:
    command = COMMANDS[name]
    examples = list_examples(command)

    assert 1 <= len(examples) <= 3
    for example in examples:
        words = shlex.split(example)
        words = words[: words.index(">")] if ">" in words else words
        assert words[: 1 + len(name.split())] == ["plans", *name.split()]
        command.make_context(name, words[1 + len(name.split()) :])


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_and_argument_says_what_it_is(name: str) -> None:
    silent = [
        parameter.name
        for parameter in COMMANDS[name].params
        if not parameter.help and parameter.name != "help"
    ]

    assert silent == []


def test_the_list_of_commands_says_what_each_does() -> None:
    root: Any = typer.main.get_command(frame.app)

    assert list(root.list_commands(None)) == list(frame._COMMANDS)
    for name, entry in frame._COMMANDS.items():
        assert entry.line.endswith(".")
        assert (frame._load(name).help or "").strip()


@pytest.mark.parametrize("name", COMMANDS)
def test_completion_is_offered_by_the_frame_alone(name: str) -> None:
    options = {option for one in COMMANDS[name].params for option in one.opts}

    assert not options & {"--install-completion", "--show-completion"}
