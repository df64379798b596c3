"""What the expressions of a step read, and how they are shown.

Promises: pure; every path is found, in conditions and inside of CEL as well. Expects a
plan without faults. Must not know what a path comes to.
"""

from collections.abc import Iterable, Iterator

from .durations import write_duration
from .expressions import (
    Expression,
    PlainPath,
    parse_bare,
    parse_template_text,
    quote,
    texts_of,
)
from .plan import CompiledStep, Repetition
from .secrets import SCHEME


def list_expressions(step: CompiledStep) -> Iterator[Expression]:
    """Yield the expressions of a step: its condition, list or loop, inputs and key."""
    until = step.repeat.until if step.repeat else None
    for text in (step.condition, step.for_each, until):
        if text is not None:
            yield parse_bare(text)
    yield from list_template_expressions(step.inputs)
    if step.cache is not None:
        yield from list_template_expressions(step.cache.key)


def list_template_expressions(template: object) -> Iterator[Expression]:
    """Yield the expressions in a template."""
    for _, text in texts_of(template):
        for piece in parse_template_text(text):
            if not isinstance(piece, str):
                yield piece


def list_paths(expressions: Iterable[Expression]) -> list[PlainPath]:
    """Return the paths that expressions read, each once, sorted."""
    found = {path for expression in expressions for path in expression.reads}
    return sorted(found, key=lambda path: path.text)


def list_secrets(step: CompiledStep) -> list[str]:
    """Return the names of the secrets in the inputs of a step, each once, sorted."""
    texts = (text for _, text in texts_of(step.inputs))
    return sorted({t.removeprefix(SCHEME) for t in texts if t.startswith(SCHEME)})


def show_repetition(repeat: Repetition) -> str:
    """Return how often something is repeated, in words."""
    most = f"{repeat.times:,} times"
    if repeat.until is not None:
        most = f"until {show_bare(repeat.until)}, {most} at most"
    if repeat.wait_seconds is not None:
        most += f", {write_duration(repeat.wait_seconds)} apart"
    return most


def show_bare(text: str) -> str:
    """Return a bare expression in one line, without `${…}` around it, and cut."""
    return quote(parse_bare(text).text)[2:-1]
