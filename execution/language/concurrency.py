"""Keyed executions: how many of a plan run at once under one key, and what the key is.

Promises: a key is made of texts and plain paths of parameters, so that whoever submits,
in whatever language, comes to the same. Works on what it understands of a faulty
document. Must not know how a key is filled in: the database does that.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

from ..expressions import (
    Expression,
    PlainPath,
    TemplateError,
    parse_template_text,
    quote,
)
from ..places import Path, shown
from ..secrets import find_secret_fault
from .breaches import Complaint
from .findings import Findings
from .references import complain_of
from .rules import Rule

if TYPE_CHECKING:
    from .document import PlanDocument

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
        findings.add(_PLACE, Rule.WRONG_SECRET, message)
        return
    try:
        pieces = parse_template_text(key)
    except TemplateError as error:
        found = complain_of(error)
        findings.add(_PLACE, found.rule, found.message)
        return
    expressions = [piece for piece in pieces if not isinstance(piece, str)]
    faults = [(e.text, _find_fault(e, declared, findings)) for e in expressions]
    broken = [(quote(text), fault) for text, fault in faults if fault]
    if broken:
        messages = (f"{text}: {fault}" for text, fault in broken)
        findings.add(_PLACE, broken[0][1].rule, "; ".join(messages))


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
    expression: Expression, declared: Mapping[str, object], findings: Findings
) -> Complaint | None:
    if not isinstance(expression, PlainPath) or expression.parts[0] != "parameters":
        message = "a key is made of texts and ${parameters.…} alone"
        return Complaint(Rule.COMPUTED_KEY, message)
    _, *rest = expression.parts
    if not rest:
        message = "`parameters` alone is no value; write parameters. and a name"
        return Complaint(Rule.NO_VALUE, message)
    name, *inner = rest
    if name not in declared:
        near = findings.suggestion(name, declared)
        message = f"no parameter is called {shown(name)}{near}"
        return Complaint(Rule.UNKNOWN_PARAMETER, message)
    return _find_misfit(name, declared[name], has_parts=bool(inner))


def _find_misfit(
    name: str, declaration: object, *, has_parts: bool
) -> Complaint | None:
    kind = declaration.get("type") if isinstance(declaration, dict) else None
    if not isinstance(kind, str) or has_parts == (kind in _NO_TEXT):
        return None
    what = f"{shown(name)} is of type {kind}"
    if has_parts:
        return Complaint(Rule.NO_VALUE, f"{what}, and has no parts")
    message = f"{what}, which is no text; name a part of it"
    return Complaint(Rule.VALUE_IN_TEXT, message)
