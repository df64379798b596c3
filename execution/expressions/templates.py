"""Templates and bare expressions: how they are split, and how a worker fills them in.

Promises: the same template and scope give the same value, on every machine; a
template holds no clock, no environment and no code. Every failure is an
ExpressionError that names the place and the expression. Knows nothing of documents or
databases.
"""

import json
import re
from collections.abc import Iterator, Mapping

from ..errors import ExpressionError
from ..large_values import LargeValue
from ..places import Path, place_of
from .forms import Expression
from .parsing import parse_expression
from .paths import PlainPath, name_kind, walk
from .programs import evaluate_cel
from .scanner import TemplateError, find_closing_brace

MAX_TEMPLATE_NESTING = 64

_OPENING = re.compile(r"\$\$\{|\$\{")
_MOST_SHOWN = 200


def evaluate_template(
    template: object, scope: Mapping[str, object], *, place: str
) -> object:
    """Return `template` with every `${…}` replaced by what it comes to in `scope`.

    `template` is a JSON value. A string that is exactly one `${…}` becomes the
    value itself, of whatever type; inside other text the value must be a string,
    number or boolean. `$${` stands for `${`. Keys of mappings stay as they are.
    `scope` holds what may be named: `parameters` (by name), `steps` (by name, each
    with `status`, `result`, `results`, `error`, `attempt`), `execution` (`id`,
    `created_at`, `tags`), and `item`, `index`, `step` or `failure` where there is one.
    Values of the scope are not copied: treat what is returned as read-only. A string
    that names a LargeValue as a whole becomes that, and nothing is read.

    Raises ExpressionError, with `place` (such as `steps.scan.with`) and the reason,
    when an expression cannot be evaluated or a value cannot stand in text.
    """
    return _evaluate(template, scope, place, ())


def evaluate_condition(text: str, scope: Mapping[str, object], *, place: str) -> bool:
    """Return what a bare expression says, true or false.

    Raises ExpressionError with `place` when it cannot be evaluated, or is neither.
    """
    value = _evaluate_bare(text, scope, place)
    if not isinstance(value, bool):
        raise _misfit(text, value, "a condition is true or false", place)
    return value


def evaluate_list(
    text: str, scope: Mapping[str, object], *, place: str
) -> list[object]:
    """Return the list that a bare expression comes to.

    Raises ExpressionError with `place` when it cannot be evaluated, or is no list.
    """
    value = _evaluate_bare(text, scope, place)
    if not isinstance(value, list | tuple):
        raise _misfit(text, value, "must be a list", place)
    return list(value)


def names_steps(template: object) -> frozenset[str]:
    """Return the names of the steps whose outcome a template reads.

    Raises ExpressionError when a text in it is no template.
    """
    names: set[str] = set()
    for path, text in texts_of(template):
        try:
            pieces = parse_template_text(text)
        except TemplateError as error:
            raise ExpressionError(f"{place_of(path)}: {error}") from error
        for piece in pieces:
            names |= frozenset() if isinstance(piece, str) else _name_steps(piece)
    return frozenset(names)


def names_steps_bare(text: str) -> frozenset[str]:
    """Return the names of the steps whose outcome a bare expression reads.

    Raises ExpressionError when the text is no expression.
    """
    try:
        return _name_steps(parse_bare(text))
    except TemplateError as error:
        raise ExpressionError(str(error)) from error


def wrap_expression(text: str) -> str:
    """Return a bare expression as the template that it stands for.

    One that is written as `${…}` already is left as it is.
    """
    stripped = text.strip()
    return stripped if stripped.startswith("${") else f"${{{stripped}}}"


def texts_of(template: object) -> Iterator[tuple[Path, str]]:
    """Yield each text of a JSON value with its path; keys are not among them."""
    pending: list[tuple[Path, object]] = [((), template)]
    while pending:
        path, value = pending.pop()
        if isinstance(value, str):
            yield path, value
        elif isinstance(value, dict):
            pending.extend(((*path, key), item) for key, item in value.items())
        elif isinstance(value, list):
            pending.extend(((*path, index), item) for index, item in enumerate(value))


def parse_template_text(text: str) -> list[str | Expression]:
    """Split a text into its literal parts and the expressions between them.

    Raises TemplateError when a `${` is not closed or holds no expression.
    """
    pieces: list[str | Expression] = []
    literal, position = "", 0
    while found := _OPENING.search(text, position):
        literal += text[position : found.start()]
        position = found.end()
        if found[0] == "$${":
            literal += "${"
            continue
        end = find_closing_brace(text, position)
        if literal:
            pieces.append(literal)
        pieces.append(_parse(text[position:end]))
        literal, position = "", end + 1
    literal += text[position:]
    return [*pieces, literal] if literal or not pieces else pieces


def parse_bare(text: str) -> Expression:
    """Return the expression that a text is, with or without `${…}` around it.

    Raises TemplateError when it is none.
    """
    text = text.strip()
    if text.startswith("${") and find_closing_brace(text, 2) == len(text) - 1:
        text = text[2:-1]
    return _parse(text)


def _parse(text: str) -> Expression:
    try:
        return parse_expression(text)
    except TemplateError as error:
        raise TemplateError(f"{quote(text)}: {error}", error.flaw) from error


def quote(text: str) -> str:
    """Return an expression as people are shown it: in one line, and cut."""
    line = " ".join(text.split())
    cut = line[:_MOST_SHOWN] + "…" * (len(line) > _MOST_SHOWN)
    # terminals obey what is not printable
    safe = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in cut)
    return f"${{{safe}}}"


def _name_steps(expression: Expression) -> frozenset[str]:
    return frozenset(
        path.parts[1]
        for path in expression.reads
        if path.parts[0] == "steps" and len(path.parts) > 1
    )


def _evaluate(
    template: object, scope: Mapping[str, object], place: str, path: Path
) -> object:
    if len(path) > MAX_TEMPLATE_NESTING:
        raise ExpressionError(f"{place} is nested deeper than {MAX_TEMPLATE_NESTING}")
    if isinstance(template, str):
        return _fill(template, scope, place, path)
    if isinstance(template, dict):
        return {
            key: _evaluate(value, scope, place, (*path, key))
            for key, value in template.items()
        }
    if isinstance(template, list):
        return [
            _evaluate(value, scope, place, (*path, index))
            for index, value in enumerate(template)
        ]
    return template


def _fill(text: str, scope: Mapping[str, object], place: str, path: Path) -> object:
    if "${" not in text:
        return text
    try:
        pieces = parse_template_text(text)
        if len(pieces) == 1 and not isinstance(pieces[0], str):
            return _evaluate_expression(pieces[0], scope)
        return "".join(
            piece
            if isinstance(piece, str)
            else _as_text(piece, _evaluate_whole(piece, scope))
            for piece in pieces
        )
    except TemplateError as error:
        raise ExpressionError(f"{_join(place, path)}: {error}") from error


def _evaluate_bare(text: str, scope: Mapping[str, object], place: str) -> object:
    try:
        return _evaluate_whole(parse_bare(text), scope)
    except TemplateError as error:
        raise ExpressionError(f"{place}: {error}") from error


def _evaluate_whole(expression: Expression, scope: Mapping[str, object]) -> object:
    """Return what an expression comes to, of a large value the value itself."""
    value = _evaluate_expression(expression, scope)
    return value.value if isinstance(value, LargeValue) else value


def _evaluate_expression(expression: Expression, scope: Mapping[str, object]) -> object:
    try:
        if isinstance(expression, PlainPath):
            return walk(expression.parts, scope)
        return evaluate_cel(expression, scope)
    except TemplateError as error:
        raise TemplateError(f"{quote(expression.text)}: {error}") from error


def _join(place: str, path: Path) -> str:
    inner = place_of(path)
    separator = "." if inner and not inner.startswith("[") else ""
    return f"{place}{separator}{inner}"


def _as_text(expression: Expression, value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    raise TemplateError(
        f"{quote(expression.text)} is {name_kind(value)}, and inside text only a"
        " string, number or boolean can stand"
    )


def _misfit(text: str, value: object, rule: str, place: str) -> ExpressionError:
    return ExpressionError(f"{place}: {quote(text)} is {name_kind(value)}, and {rule}")
