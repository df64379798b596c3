"""Reads a plan that is already Python objects.

Promises: a copy in JSON types that shares nothing with what was given, or
findings. Tuples count as lists, and subclasses of text and numbers as what they
extend. Objects that contain themselves run into the limits. Knows nothing of
plans.
"""

from collections.abc import Iterator, Mapping

from ..places import shown
from .findings import Findings
from .rules import Rule
from .tree import Reading, TreeBuilder


def read_objects(value: object, findings: Findings) -> Reading:
    """Return a JSON copy of nested mappings, lists and plain values.

    What JSON cannot hold is added to `findings`. Raises UnreadableError when it
    is too deep or too large to go on.
    """
    builder = TreeBuilder(findings)
    open_containers: list[Iterator[tuple[object, object]]] = []
    _take(builder, open_containers, value)
    while open_containers:
        part = next(open_containers[-1], None)
        if part is None:
            open_containers.pop()
            builder.close()
            continue
        key, item = part
        if builder.wants_key:
            _take_key(builder, key)
        _take(builder, open_containers, item)
    return builder.reading()


def _take(
    builder: TreeBuilder,
    open_containers: list[Iterator[tuple[object, object]]],
    value: object,
) -> None:
    if isinstance(value, Mapping):
        builder.open_mapping()
        open_containers.append(iter(list(value.items())))
    elif isinstance(value, list | tuple):
        builder.open_list()
        open_containers.append((None, item) for item in list(value))
    else:
        builder.scalar(_plain(value))


def _take_key(builder: TreeBuilder, key: object) -> None:
    if isinstance(key, str):
        builder.key(str.__str__(key))
        return
    builder.key(str(key))
    message = f"has the key {shown(str(key))} that is not text"
    builder.refuse_here(Rule.KEY_NOT_TEXT, message)


def _plain(value: object) -> object:
    """Strip subclasses (an enum's member, a NumPy float) down to JSON's types."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    return float(value) if isinstance(value, float) else value
