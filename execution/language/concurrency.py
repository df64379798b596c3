"""Keyed executions: how many of a plan run at once under one key, and what the key is.

Promises: a key is made of texts and plain paths of parameters, so that whoever submits,
in whatever language, comes to the same. Works on what it understands of a faulty
document. Must not know how a key is filled in: the database does that.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

from execution.expressions import (
    Expression,
    PlainPath,
    TemplateError,
    parse_template_text,
    quote,
)
from execution.language.findings import Findings
from execution.places import Path, shown
from execution.secrets import find_secret_fault

if TYPE_CHECKING:
    from execution.language.document import PlanDocument

KeyPart: TypeAlias = str | tuple[str, ...]
"""A text, or the path of a parameter that stands there."""

_PLACE: Path = ("concurrency", "key")
_NO_TEXT = frozenset(("object", "array"))


class OnConflict(StrEnum):
    """What becomes of an execution whose key others have."""

    QUEUE = "queue"
    REJECT = "reject"
    CANCEL_OLDER = "cancel_older"


@dataclass(frozen=True)
class Concurrency:
    """At most `limit` executions run at once with the same key.

    `key` is as it is written, `key_parts` what it is made of.
    """

    key: str
    key_parts: tuple[KeyPart, ...]
    limit: int
    on_conflict: OnConflict


def check_concurrency(document: Mapping[str, object], findings: Findings) -> None:
    """Note what is wrong with the key of a document, if it has one."""
    concurrency = document.get("concurrency")
    key = concurrency.get("key") if isinstance(concurrency, dict) else None
    if not isinstance(key, str):
        return
    written = document.get("parameters")
    declared = written if isinstance(written, dict) else {}
    if message := find_secret_fault(key, may_be_secret=False):
        findings.add(_PLACE, message)
        return
    try:
        pieces = parse_template_text(key)
    except TemplateError as error:
        findings.add(_PLACE, str(error))
        return
    found = (_find_fault(piece, declared, findings) for piece in pieces)
    if messages := [message for message in found if message]:
        findings.add(_PLACE, "; ".join(messages))


def compile_concurrency(document: "PlanDocument") -> Concurrency | None:
    """Return what a document without faults says of it; None if it says nothing."""
    fields = document.concurrency
    if fields is None:
        return None
    return Concurrency(
        key=fields.key,
        key_parts=tuple(map(_read_part, parse_template_text(fields.key))),
        limit=fields.limit,
        on_conflict=OnConflict(fields.on_conflict),
    )


def _read_part(piece: str | Expression) -> KeyPart:
    return piece if isinstance(piece, str) else tuple(piece.text.split(".")[1:])


def _find_fault(
    piece: str | Expression, declared: Mapping[str, object], findings: Findings
) -> str | None:
    if isinstance(piece, str):
        return None
    fault = _find_path_fault(piece, declared, findings)
    return f"{quote(piece.text)}: {fault}" if fault else None


def _find_path_fault(
    expression: Expression, declared: Mapping[str, object], findings: Findings
) -> str | None:
    if not isinstance(expression, PlainPath) or expression.parts[0] != "parameters":
        return "a key is made of texts and ${parameters.…} alone"
    _, *rest = expression.parts
    if not rest:
        return "`parameters` alone is no value; write parameters. and a name"
    name, *inner = rest
    if name not in declared:
        near = findings.suggestion(name, declared)
        return f"no parameter is called {shown(name)}{near}"
    declaration = declared[name]
    kind = declaration.get("type") if isinstance(declaration, dict) else None
    if not isinstance(kind, str) or bool(inner) == (kind in _NO_TEXT):
        return None
    if inner:
        return f"{shown(name)} is of type {kind}, and has no parts"
    return f"{shown(name)} is of type {kind}, which is no text; name a part of it"
