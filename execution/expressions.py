"""Templates: what stands in `${…}`, and how a worker fills it in.

Promises: the same template and scope give the same value, on every machine; a
template holds no clock, no environment and no code. Plain paths are walked here
and nothing else is understood yet. Knows nothing of documents or databases and
imports no parser of them, so that workers stay small.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from execution.errors import ExpressionError
from execution.places import Path, nearest, place_of, shown

MAX_EXPRESSION_CHARACTERS = 1024
MAX_TEMPLATE_NESTING = 64

# No possessive quantifiers: those of Python 3.11.2 match what they must not.
_OPENING = re.compile(r"\$\$\{|\$\{")
_STRING_OR_BRACE = re.compile(
    r"""'[^'\\]*(?:\\.[^'\\]*)*'|"[^"\\]*(?:\\.[^"\\]*)*"|[{}'"]""", re.DOTALL
)
_PLAIN_PATH = re.compile(
    r"[A-Za-z_][A-Za-z0-9_]*(?:\.(?:[A-Za-z_][A-Za-z0-9_]*|[0-9]+))*"
)
_INDEX = re.compile(r"0|[1-9][0-9]{0,17}")


class TemplateError(ValueError):
    """A text is no template; the message says why, the caller knows where."""


@dataclass(frozen=True)
class PlainPath:
    """A path such as `steps.scan.result.files.0`, as written and in its parts."""

    text: str
    parts: tuple[str, ...]

    @property
    def step_name(self) -> str | None:
        """The step whose outcome the path reads, if it reads one."""
        if self.parts[0] == "steps" and len(self.parts) > 1:
            return self.parts[1]
        return None


def evaluate_template(
    template: object, scope: Mapping[str, object], *, place: str
) -> object:
    """Return `template` with every `${…}` replaced by what it names in `scope`.

    `template` is a JSON value. A string that is exactly one `${path}` becomes the
    value itself, of whatever type; inside other text the value must be a string,
    number or boolean. `$${` stands for `${`. Keys of mappings stay as they are.
    `scope` holds `parameters` (by name), `steps` (by name, each with `status`,
    `result`, `results`, `error`, `attempt`) and `execution` (`id`, `created_at`,
    `tags`). Values of the scope are not copied: treat what is returned as read-only.

    Raises ExpressionError, with `place` (such as `steps.scan.with`) and how far
    the walk came, when a path leads nowhere or a value cannot stand in text.
    """
    return _evaluate(template, scope, place, ())


def names_steps(template: object) -> frozenset[str]:
    """Return the names of the steps whose outcome a template reads.

    Raises ExpressionError when a text in it is no template.
    """
    names = set()
    for path, text in texts_of(template):
        try:
            pieces = parse_template_text(text)
        except TemplateError as error:
            raise ExpressionError(f"{place_of(path)}: {error}") from error
        names |= {piece.step_name for piece in pieces if isinstance(piece, PlainPath)}
    return frozenset(name for name in names if name is not None)


def wrap_expression(text: str) -> str:
    """Return a bare expression as the template that it stands for.

    One that is written as `${…}` already is left as it is.
    """
    stripped = text.strip()
    return stripped if stripped.startswith("${") else f"${{{stripped}}}"


def evaluate_list(text: str, scope: Mapping[str, object], *, place: str) -> list[Any]:
    """Return the list that an expression, bare or as `${…}`, comes to in `scope`.

    Raises ExpressionError, with `place`, when it cannot be evaluated or is no list.
    """
    value = evaluate_template(wrap_expression(text), scope, place=place)
    if isinstance(value, list):
        return value
    raise ExpressionError(
        f"{place}: {shown(text)} is {_kind(value)}, and must be a list"
    )


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


def parse_template_text(text: str) -> list[str | PlainPath]:
    """Split a text into its literal parts and the paths between them.

    Raises TemplateError when a `${` is not closed or holds no plain path.
    """
    pieces: list[str | PlainPath] = []
    literal, position = "", 0
    while found := _OPENING.search(text, position):
        literal += text[position : found.start()]
        position = found.end()
        if found[0] == "$${":
            literal += "${"
            continue
        end = _closing_brace(text, position)
        if literal:
            pieces.append(literal)
        pieces.append(_parse_path(text[position:end].strip()))
        literal, position = "", end + 1
    literal += text[position:]
    return [*pieces, literal] if literal or not pieces else pieces


def _closing_brace(text: str, start: int) -> int:
    """Return where the `}` stands that closes the expression begun before `start`."""
    depth = 1
    for found in _STRING_OR_BRACE.finditer(text, start):
        match found[0]:
            case "{":
                depth += 1
            case "}":
                depth -= 1
            case "'" | '"':
                break  # a string that never ends
            case _:
                continue  # a whole string
        if depth == 0:
            return found.start()
    raise TemplateError(
        f"`${{` at character {start - 1} is not closed; write `$${{` for the text `${{`"
    )


def _parse_path(text: str) -> PlainPath:
    if len(text) > MAX_EXPRESSION_CHARACTERS:
        raise TemplateError(
            f"an expression has {len(text):,} characters; "
            f"{MAX_EXPRESSION_CHARACTERS:,} are allowed"
        )
    if not _PLAIN_PATH.fullmatch(text):
        raise TemplateError(
            f"{shown(text)} is not a plain path, and this release supports only those: "
            "parameters.name, steps.name.result.key.0 or execution.id"
        )
    return PlainPath(text, tuple(text.split(".")))


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
        if len(pieces) == 1 and isinstance(pieces[0], PlainPath):
            return _walk(pieces[0], scope)
        return "".join(
            piece if isinstance(piece, str) else _as_text(piece, _walk(piece, scope))
            for piece in pieces
        )
    except TemplateError as error:
        raise ExpressionError(f"{_join(place, path)}: {error}") from error


def _join(place: str, path: Path) -> str:
    inner = place_of(path)
    separator = "." if inner and not inner.startswith("[") else ""
    return f"{place}{separator}{inner}"


def _as_text(path: PlainPath, value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    raise TemplateError(
        f"${{{path.text}}} is {_kind(value)}, and inside text only a string, "
        "number or boolean can stand"
    )


def _walk(path: PlainPath, scope: Mapping[str, object]) -> object:
    value: object = scope
    for depth, part in enumerate(path.parts):
        try:
            value = _step_into(value, part)
        except TemplateError as error:
            walked = ".".join(path.parts[:depth]) or "the scope"
            raise TemplateError(f"${{{path.text}}}: {walked} {error}") from error
    return value


def _step_into(value: object, part: str) -> object:
    match value:
        case Mapping():
            if part in value:
                return value[part]
            names = [key for key in value if isinstance(key, str)]
            raise TemplateError(f"has no {shown(part)}{nearest(part, names)}")
        case list() | tuple():
            if not _INDEX.fullmatch(part):
                raise TemplateError(f"is a list, and {shown(part)} is no index")
            if int(part) < len(value):
                return value[int(part)]
            raise TemplateError(f"has {len(value)} items, and so no item {part}")
        case _:
            raise TemplateError(f"is {_kind(value)}, and so has no {shown(part)}")


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case str():
            return "text"
        case int() | float():
            return "a number"
        case Mapping():
            return "a mapping"
        case _:
            return "a list"
