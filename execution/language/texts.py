"""The small values of a document: names, labels, durations, as types of the schema.

Promises: each type checks what stands in the document and describes the same to JSON
Schema, as far as that can say it. Knows no field.
"""

import re
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from ..dependencies import NAME_PATTERN, NAME_RULE, is_dependency_name
from ..durations import DURATION, parse_duration_seconds
from ..moments import MOMENT, MomentError, parse_moment
from ..places import shown
from .breaches import UnfitError
from .rules import Rule

MAX_ERROR_NAMES = 100
MAX_STEP_ID = 63
MAX_ITEMS = 10_000
MAX_RESTORES = 10
MAX_USES = 20

_STEP_ID = re.compile(r"[a-z][a-z0-9_]{0,62}")
_PLAN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_PERCENTAGE = re.compile(r"(?:0?[0-9]{1,2}(?:\.[0-9]{1,6})?|100(?:\.0{1,6})?)%")
_PARAMETER_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_CEL_KEYWORDS = frozenset(("false", "in", "null", "true"))
_CEL_WORDS = _CEL_KEYWORDS | frozenset(
    (
        *("as", "break", "const", "continue", "else", "for", "function", "if"),
        *("import", "let", "loop", "namespace", "package", "return", "var"),
        *("void", "while"),
    )
)


def is_step_id(text: str) -> bool:
    """Say whether a step can have the id `text`."""
    return bool(_STEP_ID.fullmatch(text)) and text not in _CEL_WORDS


def _step_id(text: str) -> str:
    if not _STEP_ID.fullmatch(text):
        raise UnfitError(
            Rule.WRONG_NAME,
            "must be a lower-case letter followed by up to 62 of a-z, 0-9 and _",
        )
    if text in _CEL_WORDS:
        raise UnfitError(
            Rule.WRONG_NAME, f"{shown(text)} is a word of the expression language"
        )
    return text


def _parameter_name(text: str) -> str:
    # unlike a step's id it only ever follows a dot, where few words are taken
    if not _PARAMETER_NAME.fullmatch(text) or text in _CEL_KEYWORDS:
        raise UnfitError(
            Rule.WRONG_NAME, "must be a letter or _ and up to 62 letters, digits and _"
        )
    return text


def _plan_name(text: str) -> str:
    if not _PLAN_NAME.fullmatch(text):
        raise UnfitError(
            Rule.WRONG_NAME, "must be 1 to 128 letters, digits, dots, hyphens or _"
        )
    return text


def _subplan_name(text: str) -> str:
    name, mark, version = text.partition("@")
    _plan_name(name)
    return f"{name}@{_version(version)}" if mark else name


def _dependency_name(text: str) -> str:
    if not is_dependency_name(text):
        raise UnfitError(Rule.WRONG_NAME, NAME_RULE)
    return text


def _code_name(text: str) -> str:
    """Actions and queues are named by others; only the unprintable is refused."""
    if not 0 < len(text) <= 255 or not text.isprintable() or " " in text:
        raise UnfitError(
            Rule.WRONG_NAME, "must be 1 to 255 printable characters without spaces"
        )
    return text


def _version(text: str) -> str:
    """It follows NAME@ on command lines, where a space would end it."""
    if not 0 < len(text) <= 128 or not text.isprintable() or " " in text:
        raise UnfitError(
            Rule.WRONG_NAME, "must be 1 to 128 printable characters without spaces"
        )
    return text


def _label(text: str) -> str:
    if not 0 < len(text) <= 128 or not text.isprintable():
        raise UnfitError(Rule.WRONG_NAME, "must be 1 to 128 printable characters")
    return text


def _format(value: object) -> object:
    # in Python true and 1.0 equal 1, and a literal compares by equality
    if type(value) is not int or value != 1:
        raise UnfitError(Rule.UNKNOWN_FORMAT, "this release reads format 1")
    return value


def _duration(value: object) -> object:
    _measures_nothing(value)
    return value


def _limit(value: object) -> object:
    if _measures_nothing(value):
        raise UnfitError(
            Rule.WRONG_DURATION,
            "must be longer than nothing; leave it out for no limit",
        )
    return value


def _wait(value: object) -> object:
    if _measures_nothing(value):
        raise UnfitError(
            Rule.WRONG_DURATION, "must be longer than nothing; 1ms is the shortest"
        )
    return value


def _pause(value: object) -> object:
    return value if _is_template(value) else _wait(value)


def _signal(text: str) -> str:
    return text if _is_template(text) else _code_name(text)


def _moment(value: object) -> object:
    if not _is_template(value):
        try:
            parse_moment(value)
        except MomentError as error:
            raise UnfitError(Rule.WRONG_VALUE, str(error)) from error
    return value


def _is_template(value: object) -> bool:
    return isinstance(value, str) and "${" in value


def _measures_nothing(value: object) -> bool:
    # a bare number is looked at too, for the answer that says which unit to add
    is_scalar = isinstance(value, str | int | float)
    return is_scalar and not parse_duration_seconds(str(value))


def _on_failure(value: object) -> object:
    match value:
        case "abort" | "skip":
            return value
        case {"fallback": str(), **others} if not others:
            return value
        case {"restore": str(), "times": int(times), **others} if (
            not others and type(times) is int and 1 <= times <= MAX_RESTORES
        ):
            return value
        case {"restore": str(), **others} if others.keys() <= {"times"}:
            raise UnfitError(
                Rule.OUT_OF_RANGE,
                f"`times` must say how often, from 1 to {MAX_RESTORES}",
            )
        case {"strategy": str(name), **others} if not others:
            _code_name(name)
            return value
        case _:
            raise UnfitError(
                Rule.WRONG_VALUE,
                "must be abort, skip, {fallback: the id of a step},"
                " {restore: the id of a step, times: a number} or"
                " {strategy: a recovery strategy}",
            )


def _tolerance(value: object) -> object:
    is_count = type(value) is int and 0 <= value <= MAX_ITEMS
    is_share = isinstance(value, str) and _PERCENTAGE.fullmatch(value)
    if not is_count and not is_share:
        raise UnfitError(
            Rule.WRONG_VALUE,
            f"must be a number of items up to {MAX_ITEMS:,}, or a share such as 10%",
        )
    return value


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _words(pattern: str, but: frozenset[str] = frozenset()) -> WithJsonSchema:
    """Say for editors what the validators check: the whole text, but not these."""
    schema: dict[str, Any] = {"type": "string", "pattern": f"^(?:{pattern})$"}
    return WithJsonSchema(schema | ({"not": {"enum": sorted(but)}} if but else {}))


_SOME_DURATION = _words(f"(?=.*[1-9]){DURATION.pattern}")

FormatNumber: TypeAlias = Annotated[Literal[1], BeforeValidator(_format)]
StepId: TypeAlias = Annotated[
    str, AfterValidator(_step_id), _words(_STEP_ID.pattern, _CEL_WORDS)
]
ParameterName: TypeAlias = Annotated[
    str,
    AfterValidator(_parameter_name),
    _words(_PARAMETER_NAME.pattern, _CEL_KEYWORDS),
]
PlanName: TypeAlias = Annotated[
    str, AfterValidator(_plan_name), _words(_PLAN_NAME.pattern)
]
SubplanName: TypeAlias = Annotated[
    str, AfterValidator(_subplan_name), _words(rf"{_PLAN_NAME.pattern}(@\S{{1,128}})?")
]
DependencyName: TypeAlias = Annotated[
    str, AfterValidator(_dependency_name), _words(NAME_PATTERN)
]
DependencyNames: TypeAlias = Annotated[list[DependencyName], Field(max_length=MAX_USES)]
CodeName: TypeAlias = Annotated[str, AfterValidator(_code_name), _words(r"\S{1,255}")]
Label: TypeAlias = Annotated[str, AfterValidator(_label), _words(".{1,128}")]
VersionText: TypeAlias = Annotated[str, AfterValidator(_version), _words(r"\S{1,128}")]
DurationText: TypeAlias = Annotated[
    str, BeforeValidator(_duration), _words(f"(?=.){DURATION.pattern}")
]
LimitText: TypeAlias = Annotated[str, BeforeValidator(_limit), _SOME_DURATION]
WaitText: TypeAlias = Annotated[str, BeforeValidator(_wait), _SOME_DURATION]
PauseText: TypeAlias = Annotated[
    str, BeforeValidator(_pause), _words(rf"(?=.*[1-9]){DURATION.pattern}|.*\$\{{.*")
]
MomentText: TypeAlias = Annotated[
    str, BeforeValidator(_moment), _words(rf"{MOMENT.pattern}|.*\$\{{.*")
]
SignalText: TypeAlias = Annotated[
    str, AfterValidator(_signal), _words(r"\S{1,255}|.*\$\{.*")
]
Tolerance: TypeAlias = Annotated[
    int | str,
    BeforeValidator(_tolerance),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0, "maximum": MAX_ITEMS},
                {"type": "string", "pattern": f"^(?:{_PERCENTAGE.pattern})$"},
            ]
        }
    ),
]
OnFailureText: TypeAlias = Literal["abort", "skip"]
OnFailureChoice: TypeAlias = Annotated[
    Any,
    BeforeValidator(_on_failure),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": ["abort", "skip"]},
                {
                    "type": "object",
                    "properties": {"fallback": {"type": "string"}},
                    "required": ["fallback"],
                    "additionalProperties": False,
                },
                {
                    "type": "object",
                    "properties": {
                        "restore": {"type": "string"},
                        "times": {
                            "type": "integer",
                            "minimum": 1,
                            "maximum": MAX_RESTORES,
                        },
                    },
                    "required": ["restore", "times"],
                    "additionalProperties": False,
                },
                {
                    "type": "object",
                    "properties": {
                        "strategy": {"type": "string", "pattern": r"^(?:\S{1,255})$"}
                    },
                    "required": ["strategy"],
                    "additionalProperties": False,
                },
            ]
        }
    ),
]
RollbackCause: TypeAlias = Literal["on_failure", "on_cancel"]
RollbackCauses: TypeAlias = Annotated[
    list[RollbackCause],
    BeforeValidator(
        _listed, json_schema_input_type=RollbackCause | list[RollbackCause]
    ),
]
ErrorNames: TypeAlias = Annotated[list[str], Field(max_length=MAX_ERROR_NAMES)]
