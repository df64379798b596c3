"""Turns a document into the steps that dispatch and workers go by.

Promises: profiles and defaults are merged once, edges are positions, and every
number is in the unit its name says. Expects a document without faults. Imports no
parser, so that a worker can have `CompiledStep` without them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

from ..built_in import (
    BUILT_IN_ACTIONS,
    RUN_PLAN_ACTION,
    SLEEP_ACTION,
    WAIT_ACTION,
)
from ..caching import CacheRule
from ..durations import parse_duration_seconds
from ..expressions import names_steps, names_steps_bare, wrap_expression
from ..recovery import STRATEGY_PREFIX
from ..retry import RetryPolicy
from ..states import Section
from .graph import Graph
from .patterns import find_pattern

if TYPE_CHECKING:
    from .document import (
        CacheFields,
        PlanDocument,
        PolicyFields,
        RepeatFields,
        RetryFields,
        StepFields,
        UndoFields,
    )

DEFAULT_MAX_LOST = 3

_UNTRIED_POLICIES = {
    "timeout_seconds": None,
    "retry": RetryPolicy(),
    "max_attempts": RetryPolicy.max_attempts,
    "uses": (),
}
"""What `defaults` and profiles say of attempts is for steps that call an action."""

Value = TypeVar("Value")


class OnFailure(StrEnum):
    """What follows when a step has failed for good."""

    ABORT = "abort"
    SKIP = "skip"
    FALLBACK = "fallback"
    RESTORE = "restore"
    STRATEGY = "strategy"


@dataclass(frozen=True)
class Repetition:
    """How often something is repeated: until a bare expression is true, if it has one.

    It is begun `times` times at most, each time so long after the one before.
    """

    until: str | None
    times: int
    wait_seconds: float | None


@dataclass(frozen=True)
class CompiledStep:
    """A step with everything resolved; steps are named by their positions.

    `condition` is the bare expression that decides whether the step runs; `reads` are
    those of all its expressions, `item_reads` those of its inputs and of the key of its
    results, which are all that an item or an iteration evaluates. With `repeat` it is a
    loop: its action and inputs are those of its iterations. What waits for a signal
    has in `awaits` the pattern that the signal's name fits, as LIKE has them, and in
    `payload` the declarations of what that carries, if it asks for anything.
    `max_attempts` is that of `retry`, for who needs nothing else of it. `uses` are what
    the document names; the action may use more.
    """

    position: int
    name: str
    action: str
    queue: str | None
    priority: int
    needs: tuple[int, ...]
    successors: tuple[int, ...]
    reads: tuple[int, ...]
    survives_skips: bool
    on_failure: OnFailure
    timeout_seconds: float | None
    deadline_seconds: float | None
    retry: RetryPolicy
    max_attempts: int
    max_lost: int
    inputs: object
    condition: str | None = None
    section: Section = Section.STEPS
    run_on: str | None = None
    undoes: int | None = None
    for_each: str | None = None
    item_reads: tuple[int, ...] | None = None
    max_parallel: int | None = None
    tolerate: int | None = None
    tolerate_percent: float | None = None
    fallback: int | None = None
    stands_in_for: int | None = None
    restore: int | None = None
    restore_times: int | None = None
    repeat: Repetition | None = None
    cache: CacheRule | None = None
    subplan: str | None = None
    uses: tuple[str, ...] = ()
    awaits: str | None = None
    payload: Mapping[str, object] | None = None

    @property
    def is_built_in(self) -> bool:
        """Say whether each worker can do what the step does."""
        return self.action in BUILT_IN_ACTIONS

    @property
    def sleep(self) -> Any:
        """For how long the step sleeps, or until when; None if it does not."""
        return self.inputs if self.action == SLEEP_ACTION else None

    @property
    def wait(self) -> Any:
        """Which signal the step waits for, and how long; None if it does not."""
        return self.inputs if self.action == WAIT_ACTION else None

    @property
    def work(self) -> str:
        """What the step does, in words: the name of its action, or of its plan."""
        if self.sleep is not None:
            ((word, value),) = self.sleep.items()
            return f"sleep {word} {value}"
        if self.wait is not None:
            return f"wait for {self.wait['wait_for']}"
        return self.action if self.subplan is None else f"plan {self.subplan}"


def is_recovery(step: CompiledStep) -> bool:
    """Whether a step asks a strategy what becomes of another, and is not written."""
    return step.action.startswith(STRATEGY_PREFIX) and step.stands_in_for is not None


def compile_steps(document: "PlanDocument", graph: Graph) -> tuple[CompiledStep, ...]:
    """Return the steps of a document that has no faults, in its order.

    After them come those that undo some of them, and those that ask strategies.
    """
    steps = [
        _compile_step(position, step, document, graph)
        for position, step in enumerate(document.steps)
    ]
    undone = [step for step in document.steps if step.undo is not None]
    undoing = [
        _compile_undo(position, step, document, graph)
        for position, step in enumerate(undone, start=len(steps))
    ]
    asking = [step for step in steps if step.on_failure is OnFailure.STRATEGY]
    last = len(steps) + len(undoing)
    recovering = [
        _compile_recovery(position, step, document)
        for position, step in enumerate(asking, start=last)
    ]
    for recovery in recovering:
        assert recovery.stands_in_for is not None  # noqa: S101  # made so
        failing = steps[recovery.stands_in_for]
        steps[failing.position] = replace(failing, fallback=recovery.position)
    return (*steps, *undoing, *recovering)


def positions_read(template: object, positions: Mapping[str, int]) -> tuple[int, ...]:
    """Return the positions of the steps that a template reads, in order."""
    return _sort_positions(names_steps(template), positions)


def compile_seconds(duration: str | None) -> float | None:
    """Return a duration in seconds, or None where none is written."""
    return None if duration is None else parse_duration_seconds(duration)


def _sort_positions(
    names: frozenset[str], positions: Mapping[str, int]
) -> tuple[int, ...]:
    return tuple(sorted(positions[name] for name in names))


def _compile_step(
    position: int, step: "StepFields", document: "PlanDocument", graph: Graph
) -> CompiledStep:
    profile = document.profiles[step.profile] if step.profile else None
    policies = [layer for layer in (step, profile, document.defaults) if layer]
    on_failure: Any = _first(policy.on_failure for policy in policies)
    stands_in_for = graph.fallbacks.get(position)
    called = step.repeat or step
    inputs = _list_inputs(step)
    inside = names_steps([inputs, step.cache.key if step.cache else None])
    is_ending = position in graph.ending
    for_each = None if step.for_each is None else wrap_expression(step.for_each)
    has_items = step.for_each is not None or step.repeat is not None
    return CompiledStep(
        position=position,
        name=step.id,
        action=_choose_action(step),
        subplan=called.plan,
        awaits=None if called.wait_for is None else find_pattern(called.wait_for),
        payload=_write_declarations(step),
        # what it stands in for does not count it among its successors
        needs=graph.needs[position] if stands_in_for is None else (stands_in_for,),
        successors=graph.successors[position],
        reads=_sort_positions(inside | _names_asked(step), graph.positions),
        survives_skips=graph.in_sequence or is_ending,
        inputs=inputs,
        condition=step.when,
        section=Section.END if is_ending else Section.STEPS,
        run_on=step.run_on,
        stands_in_for=stands_in_for,
        for_each=for_each,
        item_reads=_sort_positions(inside, graph.positions) if has_items else None,
        max_parallel=step.max_parallel,
        **_compile_failure(on_failure, graph.positions),
        cache=_compile_cache(step.cache),
        repeat=_compile_repetition(step.repeat),
        **_compile_tolerance(step.tolerate),
        **(_compile_policies(policies) | ({} if called.action else _UNTRIED_POLICIES)),
    )


def _names_asked(step: "StepFields") -> frozenset[str]:
    """Return the steps that the bare expressions of a step name."""
    asked = (step.when, step.for_each, step.repeat and step.repeat.until)
    return frozenset().union(*(names_steps_bare(bare) for bare in asked if bare))


def _choose_action(step: "StepFields") -> str:
    if step.sleep or step.sleep_until:
        return SLEEP_ACTION
    called = step.repeat or step
    if called.wait_for is not None:
        return WAIT_ACTION
    return called.action or RUN_PLAN_ACTION


def _list_inputs(step: "StepFields") -> dict[str, object]:
    if step.sleep or step.sleep_until:
        return {"for": step.sleep} if step.sleep else {"until": step.sleep_until}
    called = step.repeat or step
    if called.wait_for is None:
        return called.with_
    inputs: dict[str, object] = {"wait_for": called.wait_for}
    if step.timeout is not None:
        inputs["timeout"] = step.timeout
    if "default" in step.model_fields_set:
        inputs["default"] = step.default
    return inputs


def _write_declarations(step: "StepFields") -> dict[str, object] | None:
    if step.payload is None:
        return None
    return {
        name: fields.model_dump(exclude_none=True)
        for name, fields in step.payload.items()
    }


def _compile_undo(
    position: int, step: "StepFields", document: "PlanDocument", graph: Graph
) -> CompiledStep:
    undo = step.undo
    assert undo is not None  # noqa: S101  # its caller has chosen those that have one
    policies = [layer for layer in (undo, document.defaults) if layer]
    return CompiledStep(
        position=position,
        name=f"{step.id}.undo",
        action=undo.action,
        needs=(),
        successors=(),
        reads=positions_read(undo.with_, graph.positions),
        survives_skips=True,
        on_failure=OnFailure.ABORT,
        inputs=undo.with_,
        section=Section.ROLLBACK,
        undoes=graph.positions[step.id],
        **_compile_policies(policies),
    )


def _compile_recovery(
    position: int, step: CompiledStep, document: "PlanDocument"
) -> CompiledStep:
    """Return the step that asks a strategy what becomes of one that has failed.

    It stands in for that step, as a fallback does. `defaults` hold for it, and it goes
    to the queue of that step, where the same code should be.
    """
    written: Any = document.steps[step.position].on_failure
    policies = [document.defaults] if document.defaults else []
    return CompiledStep(
        position=position,
        name=f"{step.name}.recovery",
        action=f"{STRATEGY_PREFIX}{written['strategy']}",
        needs=(step.position,),
        successors=(),
        reads=(),
        survives_skips=step.survives_skips,
        on_failure=OnFailure.ABORT,
        inputs={"failure": "${failure}"},
        stands_in_for=step.position,
        # how a failure is met does not wait for what `defaults` say that steps use
        **{**_compile_policies(policies), "queue": step.queue, "uses": ()},
    )


def _compile_repetition(fields: "RepeatFields | None") -> Repetition | None:
    if fields is None:
        return None
    return Repetition(fields.until, fields.times, compile_seconds(fields.wait))


def _compile_failure(written: Any, positions: Mapping[str, int]) -> dict[str, Any]:
    match written:
        case {"fallback": name}:
            return {"on_failure": OnFailure.FALLBACK, "fallback": positions[name]}
        case {"restore": name, "times": times}:
            return {
                "on_failure": OnFailure.RESTORE,
                "restore": positions[name],
                "restore_times": times,
            }
        case {"strategy": _}:
            return {"on_failure": OnFailure.STRATEGY}
        case _:
            return {"on_failure": OnFailure(written or OnFailure.ABORT)}


def _compile_cache(written: "CacheFields | None") -> CacheRule | None:
    if written is None:
        return None
    return CacheRule(parse_duration_seconds(written.ttl), written.key)


def _compile_tolerance(written: int | str | None) -> dict[str, Any]:
    if isinstance(written, str):
        return {"tolerate_percent": float(written.removesuffix("%"))}
    return {"tolerate": written}


def _compile_policies(
    policies: Sequence["PolicyFields | UndoFields"],
) -> dict[str, Any]:
    """Return how a step is run, of which each field is that of the innermost policy."""
    written = _first(policy.retry for policy in policies)
    retry = _compile_retry(written) if written else RetryPolicy()
    return {
        "queue": _first(policy.queue for policy in policies),
        "priority": _first(policy.priority for policy in policies) or 0,
        "timeout_seconds": compile_seconds(_first(p.timeout for p in policies)),
        "deadline_seconds": compile_seconds(_first(p.deadline for p in policies)),
        "retry": retry,
        "max_attempts": retry.max_attempts,
        "max_lost": written.max_lost if written else DEFAULT_MAX_LOST,
        "uses": tuple(sorted({*(_first(policy.uses for policy in policies) or ())})),
    }


def _compile_retry(fields: "RetryFields") -> RetryPolicy:
    written = {
        "max_attempts": fields.attempts,
        "wait": fields.wait,
        "initial_seconds": compile_seconds(fields.initial),
        "max_seconds": compile_seconds(fields.max),
        "jitter_seconds": compile_seconds(fields.jitter),
        "on": fields.on,
        "not_on": fields.not_on,
    }
    return RetryPolicy.from_json(
        {name: value for name, value in written.items() if value is not None}
    )


def _first(values: Iterable[Value | None]) -> Value | None:
    """Return the value of the innermost policy that states one."""
    return next((value for value in values if value is not None), None)
