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
    WithJsonSchema,
)

from execution.durations import DURATION, parse_duration_seconds
from execution.language.compilation import DEFAULT_MAX_LOST
from execution.places import shown
from execution.retry import RetryPolicy

MAX_STEPS = 10_000
MAX_ATTEMPTS = 1000
MAX_LOST = 100
MAX_ERROR_NAMES = 100
MAX_PRIORITY = 9

_STEP_ID = re.compile(r"[a-z][a-z0-9_]{0,62}")
_PLAN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_PARAMETER_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_CEL_KEYWORDS = frozenset(("false", "in", "null", "true"))
_CEL_WORDS = _CEL_KEYWORDS | frozenset(
    (
        *("as", "break", "const", "continue", "else", "for", "function", "if"),
        *("import", "let", "loop", "namespace", "package", "return", "var"),
        *("void", "while"),
    )
)


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


def _version(text: str) -> str:
    """It follows NAME@ on command lines, where a space would end it."""
    if not 0 < len(text) <= 128 or not text.isprintable() or " " in text:
        raise ValueError("must be 1 to 128 printable characters without spaces")
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
CodeName: TypeAlias = Annotated[str, AfterValidator(_code_name), _words(r"\S{1,255}")]
Label: TypeAlias = Annotated[str, AfterValidator(_label), _words(".{1,128}")]
VersionText: TypeAlias = Annotated[str, AfterValidator(_version), _words(r"\S{1,128}")]
DurationText: TypeAlias = Annotated[
    str, BeforeValidator(_duration), _words(f"(?=.){DURATION.pattern}")
]
LimitText: TypeAlias = Annotated[str, BeforeValidator(_limit), _SOME_DURATION]
WaitText: TypeAlias = Annotated[str, BeforeValidator(_wait), _SOME_DURATION]
ErrorNames: TypeAlias = Annotated[list[str], Field(max_length=MAX_ERROR_NAMES)]


class Fields(BaseModel):
    """A mapping of the document; None stands for a field that was not written."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        json_schema_extra={"patternProperties": {"^x-": {}}},
    )


class RetryFields(Fields):
    """How often a step is started again: after its own errors, and after losses.

    The waits and their growth are those of `RetryPolicy`, which has the defaults too.
    """

    attempts: int = Field(
        default=RetryPolicy.max_attempts,
        ge=1,
        le=MAX_ATTEMPTS,
        description="How often the step may begin and end in an error or timeout.",
    )
    wait: Literal["exponential", "fixed", "random"] | None = Field(
        default=None, description="How the waits grow; exponential by default."
    )
    initial: WaitText | None = Field(
        default=None, description="The first wait; 1s by default."
    )
    max: WaitText | None = Field(
        default=None, description="The longest wait; 1m by default."
    )
    jitter: DurationText | None = Field(
        default=None,
        description="Up to this much is added to each wait; 100ms by default.",
    )
    on: ErrorNames = Field(
        default_factory=list,
        description="Errors that are retried: builtin names, import paths or codes.",
    )
    not_on: ErrorNames = Field(
        default_factory=list,
        description="Errors that are not retried, whatever `on` says.",
    )
    max_lost: int = Field(
        default=DEFAULT_MAX_LOST,
        ge=1,
        le=MAX_LOST,
        description="How often the step's process may vanish; counted apart.",
    )


class PolicyFields(Fields):
    """What steps, profiles and defaults can all state."""

    queue: CodeName | None = Field(
        default=None, description="The Celery queue; that of who submits by default."
    )
    priority: int | None = Field(
        default=None,
        ge=0,
        le=MAX_PRIORITY,
        description="Higher is sent first; 0 by default.",
    )
    timeout: LimitText | None = Field(
        default=None,
        description="Longest time of one attempt; the action's own by default.",
    )
    deadline: LimitText | None = Field(
        default=None,
        description="Longest time of all attempts and waits, from first ready on.",
    )
    retry: RetryFields | None = Field(
        default=None, description="What follows a failure; no retry by default."
    )
    on_failure: Literal["abort", "skip"] | None = Field(
        default=None,
        description="What follows when the step has failed for good; abort by default.",
    )


class StepFields(PolicyFields):
    """One step."""

    id: StepId = Field(description="How other steps and expressions name the step.")
    description: str | None = Field(default=None, description="What the step is for.")
    action: CodeName = Field(description="The name of the code that the step runs.")
    with_: dict[str, Any] = Field(
        default_factory=dict,
        alias="with",
        description="The inputs by name; `${…}` in texts is replaced.",
    )
    needs: list[str] | None = Field(
        default=None,
        description="Ids of the steps to wait for; if one step has it, all must.",
    )
    profile: str | None = Field(
        default=None, description="A name in `profiles`, whose policies hold here."
    )


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
    ] = Field(description="The type of the value; nothing is converted.")
    enum: list[Any] | None = Field(
        default=None, min_length=1, description="The values that are allowed."
    )
    min: Any = Field(
        default=None, description="The least value, or length of text and lists."
    )
    max: Any = Field(
        default=None, description="The greatest value, or length of text and lists."
    )
    pattern: str | None = Field(
        default=None,
        description="A regular expression that a string matches as a whole.",
    )
    items: "ItemFields | None" = Field(
        default=None, description="What every item of an array must be."
    )


class ParameterFields(ItemFields):
    """The declaration of a parameter."""

    default: Any = Field(
        default=None, description="The value if none is given; null without it."
    )
    required: bool | None = Field(
        default=None, description="Whether a submit must give a value."
    )


class PlanDocument(Fields):
    """A whole plan."""

    format: FormatNumber = Field(description="The version of the plan format: 1.")
    name: PlanName = Field(description="What the plan is called, and published as.")
    version: VersionText | None = Field(
        default=None, description="The version, as the author numbers them."
    )
    description: str | None = Field(default=None, description="What the plan is for.")
    tags: list[Label] = Field(
        default_factory=list, description="Words to find executions by."
    )
    parameters: dict[ParameterName, ParameterFields] = Field(
        default_factory=dict, description="What a submit may give, by name."
    )
    profiles: dict[Label, PolicyFields] = Field(
        default_factory=dict, description="Sets of policies that steps refer to."
    )
    defaults: PolicyFields | None = Field(
        default=None, description="Policies of every step that states none."
    )
    deadline: LimitText | None = Field(
        default=None,
        description="How long after its submit an execution may take, pauses included.",
    )
    steps: list[StepFields] = Field(
        min_length=1,
        max_length=MAX_STEPS,
        description="The steps; without any `needs` they run one after another.",
    )
    result: Any = Field(
        default=None,
        description="A template of the result; by default that of the only leaf.",
    )
