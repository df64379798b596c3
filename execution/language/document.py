"""The schema of a plan document: which fields there are and what they may hold.

Promises: it describes exactly what this release understands, no value is turned
into one of another type, and its JSON Schema is what editors can check against.
Sees a document only after `fields` has sorted out what is no field. Knows
nothing of edges, expressions or files.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ..retry import RetryPolicy
from .compilation import DEFAULT_MAX_LOST
from .kinds import LOOP_KINDS, STEP_KINDS
from .texts import (
    MAX_ITEMS,
    CodeName,
    DependencyNames,
    DurationText,
    ErrorNames,
    FormatNumber,
    Label,
    LimitText,
    MomentText,
    OnFailureChoice,
    OnFailureText,
    ParameterName,
    PauseText,
    PlanName,
    RollbackCauses,
    SignalText,
    StepId,
    SubplanName,
    Tolerance,
    VersionText,
    WaitText,
)

MAX_STEPS = 10_000
MAX_ATTEMPTS = 1000
MAX_LOST = 100
MAX_ITERATIONS = 1000
MAX_PRIORITY = 9
MAX_AT_ONCE = 10_000
MAX_KEY_TEMPLATE = 1024


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


class CallFields(Fields):
    """What is called, and with what."""

    action: CodeName = Field(description="The name of the code to run.")
    with_: dict[str, Any] = Field(
        default_factory=dict,
        alias="with",
        description="The inputs by name; `${…}` in texts is replaced.",
    )


class LimitFields(Fields):
    """Where and for how long something runs."""

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
    uses: DependencyNames | None = Field(
        default=None,
        description="What the action calls on; while one of them is paused, the step"
        " waits. Those of the action are added.",
    )


class WorkFields(Fields):
    """What is run, and with what: an action or a plan; or what is waited for."""

    action: CodeName | None = Field(
        default=None, description="The name of the code to run."
    )
    plan: SubplanName | None = Field(
        default=None,
        description="A published plan to run, NAME or NAME@VERSION; what it comes to is"
        " the result.",
    )
    with_: dict[str, Any] = Field(
        default_factory=dict,
        alias="with",
        description="The inputs by name; `${…}` in texts is replaced. For a plan, its"
        " parameters.",
    )
    wait_for: SignalText | None = Field(
        default=None,
        description="The name of a signal to wait for, whose payload is the result;"
        " `${…}` is replaced.",
    )


def _states_one_of(*kinds: str) -> ConfigDict:
    """Return what makes JSON Schema ask for exactly one of these fields."""
    return ConfigDict(
        json_schema_extra={
            "patternProperties": {"^x-": {}},
            "oneOf": [{"required": [kind]} for kind in kinds],
        }
    )


class RepeatFields(WorkFields):
    """What a loop runs, again and again, and when it is enough."""

    model_config = _states_one_of(*LOOP_KINDS)

    until: str | None = Field(
        default=None,
        description="An expression for a boolean, asked after each iteration; if it is"
        " true, the loop is over. Without it, all iterations run.",
    )
    times: int = Field(
        ge=1, le=MAX_ITERATIONS, description="How many iterations there are, at most."
    )
    wait: WaitText | None = Field(
        default=None, description="The time between two iterations; none by default."
    )


class CacheFields(Fields):
    """For how long, and under which key, a result may be used again."""

    ttl: WaitText = Field(description="How old a result may be that is used again.")
    key: str | None = Field(
        default=None,
        description="What results are known by, as a template; by default the inputs.",
    )


class UndoFields(LimitFields, CallFields):
    """What takes back the effects of a step; `defaults` hold for it, too."""


class PolicyFields(LimitFields):
    """What steps, profiles and defaults can all state."""

    on_failure: OnFailureText | None = Field(
        default=None,
        description="What follows when the step has failed for good; abort by default.",
    )


class StepFields(PolicyFields, WorkFields):
    """One step."""

    model_config = _states_one_of(*STEP_KINDS)

    id: StepId = Field(description="How other steps and expressions name the step.")
    description: str | None = Field(default=None, description="What the step is for.")
    repeat: RepeatFields | None = Field(
        default=None, description="Makes it a loop: what is run again and again."
    )
    sleep: PauseText | None = Field(
        default=None,
        description="Makes it wait so long, and run nothing; `${…}` is replaced.",
    )
    sleep_until: MomentText | None = Field(
        default=None,
        description="Makes it wait until then, and run nothing; `${…}` is replaced.",
    )
    needs: list[str] | None = Field(
        default=None,
        description="Ids of the steps to wait for; if one step has it, all must.",
    )
    on_failure: OnFailureChoice | None = Field(
        default=None,
        description="What follows when the step has failed for good: abort (by"
        " default), skip, a fallback that stands in for it, a restore: the execution"
        " goes back to before an earlier step, or a strategy that decides.",
    )
    when: str | None = Field(
        default=None,
        description="An expression for a boolean; if it is false, the step is skipped.",
    )
    profile: str | None = Field(
        default=None, description="A name in `profiles`, whose policies hold here."
    )
    for_each: str | None = Field(
        default=None,
        description="An expression for a list: the step runs for each item.",
    )
    max_parallel: int | None = Field(
        default=None,
        ge=1,
        le=MAX_ITEMS,
        description="How many items run at once, at most.",
    )
    tolerate: Tolerance | None = Field(
        default=None,
        description="How many items may be skipped, or which share, such as 10%.",
    )
    cache: CacheFields | None = Field(
        default=None,
        description="Lets equal inputs use a result again that is there already.",
    )
    default: Any = Field(
        # null is written where it is meant: what is written shows in the set fields
        default_factory=lambda: None,
        description="What a wait for a signal comes to when its `timeout` is over;"
        " without one, the step has timed out then.",
    )
    payload: "dict[ParameterName, ParameterFields] | None" = Field(
        default=None,
        description="What a signal must carry, by name; others are refused.",
    )
    run_on: Literal["failure", "always"] | None = Field(
        default=None,
        description="Makes it a step of the end: it runs when all others have ended.",
    )
    undo: UndoFields | None = Field(
        default=None, description="What takes back the effects of the step."
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


class ConcurrencyFields(Fields):
    """How many executions of the plan run at once under one key."""

    key: str = Field(
        min_length=1,
        max_length=MAX_KEY_TEMPLATE,
        description="Executions with the same one count together; `${parameters.…}` in"
        " it is replaced.",
    )
    limit: int = Field(
        default=1, ge=1, le=MAX_AT_ONCE, description="How many of them run at once."
    )
    on_conflict: Literal["queue", "reject", "cancel_older"] = Field(
        default="queue",
        description="What becomes of more: they wait, are refused, or end older ones.",
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
    concurrency: ConcurrencyFields | None = Field(
        default=None, description="How many executions run at once under one key."
    )
    rollback: RollbackCauses = Field(
        default_factory=list, description="When to undo the steps that have completed."
    )
    failing: Literal["finish_running", "cancel_running"] | None = Field(
        default=None,
        description="What becomes of running steps when one fails.",
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
