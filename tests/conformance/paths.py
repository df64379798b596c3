"""The few forms of expressions that scenarios draw, read without the engine.

Promises: what leads nowhere, or to a wrong type, is UnreadableError. Knows no step.
"""

import re
from collections.abc import Mapping
from typing import Any

_EQUALS = re.compile(r'(\S+) == (null|"\w+")')
_COUNTS = re.compile(r"size\(completed\((\S+)\)\) > (\d+)")


class UnreadableError(Exception):
    """An expression leads nowhere, or to a wrong type."""


def fill_in(template: object, scope: Mapping[str, object]) -> object:
    """Return a template with what stands behind its paths."""
    if isinstance(template, list):
        return [fill_in(part, scope) for part in template]
    if isinstance(template, dict):
        return {key: fill_in(part, scope) for key, part in template.items()}
    if isinstance(template, str) and template.startswith("${"):
        return read(template[2:-1], scope)
    return template


def read(path: str, scope: Mapping[str, object]) -> Any:
    """Return what stands behind a path."""
    value: Any = scope
    for key in path.split("."):
        if not isinstance(value, dict) or key not in value:
            raise UnreadableError(path)
        value = value[key]
    return value


def judge(condition: str, scope: Mapping[str, object]) -> bool:
    """Say whether a condition is true."""
    if condition in {"true", "false"}:
        return condition == "true"
    if found := _EQUALS.fullmatch(condition):
        wanted = None if found[2] == "null" else found[2].strip('"')
        return bool(read(found[1], scope) == wanted)
    if found := _COUNTS.fullmatch(condition):
        values = read(found[1], scope)
        if not isinstance(values, list):
            raise UnreadableError(condition)
        return sum(value is not None for value in values) > int(found[2])
    value = read(condition, scope)
    if not isinstance(value, bool):
        raise UnreadableError(condition)
    return value
