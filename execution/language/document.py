"""The schema of a plan document: which fields there are and what they may hold.

Promises: it describes exactly what this release understands, no value is turned
into one of another type, and its JSON Schema is what editors can check against.
Sees a document only after `fields` has sorted out what is no field. Knows
nothing of edges, expressions or files.
"""

import re
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
)

from execution.durations import parse_duration_seconds
from execution.language.compilation import DEFAULT_MAX_LOST
from execution.places import shown
from execution.retry import RetryPolicy

MAX_STEPS = 10_000
MAX_ITEMS = 10_000
MAX_ATTEMPTS = 1000
MAX_LOST = 100
MAX_ERROR_NAMES = 100
MAX_PRIORITY = 9
MAX_STEP_ID = 63

_STEP_ID = re.compile(r"[a-z][a-z0-9_]{0,62}")
_PLAN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_PERCENTAGE = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,6})?)%")
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
        raise ValueError(
            "must be a lower-case letter followed by up to 62 of a-z, 0-9 and _"
        )
    if text in _CEL_WORDS:
        raise ValueError(f"{shown(text)} is a word of the expression language")
    return text


def _parameter_name(text: str) -> str:
    # unlike a step's id it only ever follows a dot, where few words are taken
    if not _PARAMETER_NAME.fullmatch(text) or text in _CEL_KEYWORDS:
        raise ValueError("must be a letter or _ and up to 62 letters, digits and _")
    return text


def _plan_name(text: str) -> str:
    if not _PLAN_NAME.fullmatch(text):
        raise ValueError("must be 1 to 128 letters, digits, dots, hyphens or _")
    return text


def _code_name(text: str) -> str:
    """Actions and queues are named by others; only the unprintable is refused."""
    if not 0 < len(text) <= 255 or not text.isprintable() or " " in text:
        raise ValueError("must be 1 to 255 printable characters without spaces")
    return text


def _label(text: str) -> str:
    if not 0 < len(text) <= 128 or not text.isprintable():
        raise ValueError("must be 1 to 128 printable characters")
    return text


def _format(value: object) -> object:
    # in Python true and 1.0 equal 1, and a literal compares by equality
    if type(value) is not int or value != 1:
        raise ValueError("this release reads format 1")
    return value


def _duration(value: object) -> object:
    _measures_nothing(value)
    return value


def _limit(value: object) -> object:
    if _measures_nothing(value):
        raise ValueError("must be longer than nothing; leave it out for no limit")
    return value


def _wait(value: object) -> object:
    if _measures_nothing(value):
        raise ValueError("must be longer than nothing; 1ms is the shortest")
    return value


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
        case {"restore": _} | {"strategy": _}:
            raise ValueError("is not supported by this release yet")
        case _:
            raise ValueError("must be abort, skip or {fallback: the id of a step}")


def _tolerance(value: object) -> object:
    is_count = type(value) is int and 0 <= value <= MAX_ITEMS
    found = _PERCENTAGE.fullmatch(value) if isinstance(value, str) else None
    if not is_count and (found is None or float(found[1]) > 100):
        raise ValueError(
            f"must be a number of items up to {MAX_ITEMS:,}, or a share such as 10%"
        )
    return value


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


FormatNumber: TypeAlias = Annotated[Literal[1], BeforeValidator(_format)]
StepId: TypeAlias = Annotated[str, AfterValidator(_step_id)]
ParameterName: TypeAlias = Annotated[str, AfterValidator(_parameter_name)]
PlanName: TypeAlias = Annotated[str, AfterValidator(_plan_name)]
CodeName: TypeAlias = Annotated[str, AfterValidator(_code_name)]
Label: TypeAlias = Annotated[str, AfterValidator(_label)]
DurationText: TypeAlias = Annotated[str, BeforeValidator(_duration)]
LimitText: TypeAlias = Annotated[str, BeforeValidator(_limit)]
WaitText: TypeAlias = Annotated[str, BeforeValidator(_wait)]
OnFailureText: TypeAlias = Literal["abort", "skip"]
Tolerance: TypeAlias = Annotated[int | str, BeforeValidator(_tolerance)]
RollbackCause: TypeAlias = Literal["on_failure", "on_cancel"]
RollbackCauses: TypeAlias = Annotated[
    list[RollbackCause],
    BeforeValidator(
        _listed, json_schema_input_type=RollbackCause | list[RollbackCause]
    ),
]
ErrorNames: TypeAlias = Annotated[list[str], Field(max_length=MAX_ERROR_NAMES)]


class Fields(BaseModel):
    """A mapping of the document; None stands for a field that was not written."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        json_schema_extra={"patternProperties": {"^x-": {}}},
    )


class FallbackFields(Fields):
    """Who stands in for a step that fails."""

    fallback: StepId


OnFailureChoice: TypeAlias = Annotated[
    Any,
    BeforeValidator(_on_failure, json_schema_input_type=OnFailureText | FallbackFields),
]


class RetryFields(Fields):
    """How often a step is started again: after its own errors, and after losses.

    The waits and their growth are those of `RetryPolicy`, which has the defaults too.
    """

    attempts: int = Field(default=RetryPolicy.max_attempts, ge=1, le=MAX_ATTEMPTS)
    wait: Literal["exponential", "fixed", "random"] | None = None
    initial: WaitText | None = None
    max: WaitText | None = None
    jitter: DurationText | None = None
    on: ErrorNames = Field(default_factory=list)
    not_on: ErrorNames = Field(default_factory=list)
    max_lost: int = Field(default=DEFAULT_MAX_LOST, ge=1, le=MAX_LOST)


class PolicyFields(Fields):
    """What steps, profiles and defaults can all state."""

    queue: CodeName | None = None
    priority: int | None = Field(default=None, ge=0, le=MAX_PRIORITY)
    timeout: LimitText | None = None
    deadline: LimitText | None = None
    retry: RetryFields | None = None
    on_failure: OnFailureText | None = None


class CallFields(Fields):
    """What is called, and with what."""

    action: CodeName
    with_: dict[str, Any] = Field(default_factory=dict, alias="with")


class UndoFields(CallFields):
    """What takes back the effects of a step; `defaults` hold for it, too."""

    queue: CodeName | None = None
    priority: int | None = Field(default=None, ge=0, le=MAX_PRIORITY)
    timeout: LimitText | None = None
    deadline: LimitText | None = None
    retry: RetryFields | None = None


class StepFields(PolicyFields, CallFields):
    """One step."""

    id: StepId
    on_failure: OnFailureChoice | None = None
    description: str | None = None
    needs: list[str] | None = None
    when: str | None = None
    profile: str | None = None
    for_each: str | None = None
    max_parallel: int | None = Field(default=None, ge=1, le=MAX_ITEMS)
    tolerate: Tolerance | None = None
    run_on: Literal["failure", "always"] | None = None
    undo: UndoFields | None = None


class ItemFields(Fields):
    """What a parameter, or every item of a list, must be."""

    type: Literal[
        "string",
        "integer",
        "number",
        "boolean",
        "duration",
        "datetime",
        "object",
        "array",
    ]
    enum: list[Any] | None = Field(default=None, min_length=1)
    min: Any = None
    max: Any = None
    pattern: str | None = None
    items: "ItemFields | None" = None


class ParameterFields(ItemFields):
    """The declaration of a parameter."""

    default: Any = None
    required: bool | None = None


class PlanDocument(Fields):
    """A whole plan."""

    format: FormatNumber
    name: PlanName
    version: Label | None = None
    description: str | None = None
    tags: list[Label] = Field(default_factory=list)
    parameters: dict[ParameterName, ParameterFields] = Field(default_factory=dict)
    profiles: dict[Label, PolicyFields] = Field(default_factory=dict)
    defaults: PolicyFields | None = None
    deadline: LimitText | None = None
    rollback: RollbackCauses = Field(default_factory=list)
    failing: Literal["finish_running", "cancel_running"] | None = None
    steps: list[StepFields] = Field(min_length=1, max_length=MAX_STEPS)
    result: Any = None
