"""The reference of the command `plans`, from the commands themselves.

Promises: every command, argument and option is on the page, in the order of `plans
--help`, with the words of its own help. Nothing is run for it.
"""

import inspect
import re
from collections.abc import Iterator, Sequence
from typing import Any

import typer

from execution.cli import app as frame

_EVERYWHERE = {"help", "install_completion", "show_completion"}
_INTRODUCTION = """# The command `plans`

What `plans COMMAND --help` says, of every command. Those that need servers take
`--local`, before or after their name.
"""
_EXAMPLE = re.compile(r"^Examples?: +")
_TYPED = re.compile(r"(PLANS_\w+=\S+ )*plans ")
_ITEM = re.compile(r"\S+: ")


def build_commands_page() -> str:
    """Return the page of all commands."""
    root: Any = typer.main.get_command(frame.app)
    commands = {name: frame._load(name) for name in frame._COMMANDS}  # noqa: SLF001  # the same project
    lines = [_INTRODUCTION, *_describe_help(root.help), ""]
    for name, command in commands.items():
        lines += _describe_command(f"plans {name}", command, level=2)
    return "\n".join(lines) + "\n"


def _describe_command(title: str, command: Any, *, level: int) -> Iterator[str]:
    context = command.context_class(command, info_name=title)
    usage = " ".join([title, *command.collect_usage_pieces(context)])
    yield from (f"{'#' * level} `{title}`", "", f"```text\n{usage}\n```", "")
    yield from _describe_help(command.help)
    shown = [p for p in command.params if p.name not in _EVERYWHERE and not p.hidden]
    for kind in ("argument", "option"):
        rows = [p.get_help_record(context) for p in shown if p.param_type_name == kind]
        yield from _list_parameters(kind, [row for row in rows if row])
    for name, inner in getattr(command, "commands", {}).items():
        yield from _describe_command(f"{title} {name}", inner, level=level + 1)


def _describe_help(text: str | None) -> Iterator[str]:
    """Yield the help of a command as Markdown; what is to be typed, as code."""
    for paragraph in inspect.cleandoc(text or "").split("\n\n"):
        lines = [line.strip() for line in paragraph.strip("\b\n").splitlines()]
        typed = [_EXAMPLE.sub("", line) for line in lines]
        if all(_TYPED.match(line) for line in typed):
            yield from ("```sh", *typed, "```")
        elif all(_ITEM.match(line) for line in lines):
            yield from (f"- {line.rstrip(';.')}" for line in lines)
        else:
            yield from lines
        yield ""


def _list_parameters(kind: str, rows: Sequence[tuple[str, str]]) -> Iterator[str]:
    if rows:
        yield f"| {kind} | |"
        yield "|---|---|"
        for names, text in rows:
            shown = "`, `".join(_escape(names).split(", "))
            yield f"| `{shown}` | {_escape(text)} |"
        yield ""


def _escape(text: str) -> str:
    """Return a text as it may stand in a cell."""
    return " ".join(text.split()).replace("|", "\\|")
