"""Turns a document into the steps that dispatch and workers go by.

Promises: profiles and defaults are merged once, edges are positions, and every
number is in the unit its name says. Expects a document without faults. Imports no
parser, so that a worker can have `CompiledStep` without them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

from execution.durations import parse_duration_seconds
from execution.expressions import names_steps, names_steps_bare
from execution.language.graph import Graph
from execution.retry import RetryPolicy

if TYPE_CHECKING:
    from execution.language.document import PlanDocument, RetryFields, StepFields

DEFAULT_MAX_LOST = 3

Value = TypeVar("Value")


class OnFailure(StrEnum):
    """What follows when a step has failed for good."""

    ABORT = "abort"
    SKIP = "skip"


@dataclass(frozen=True)
class CompiledStep:
    """A step with everything resolved; steps are named by their positions.

    `condition` is the bare expression that decides whether the step runs; `reads` are
    those of the inputs and of the condition. `max_attempts` is that of `retry`, for who
    needs nothing else of it.
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
    condition: str | None
    inputs: object


def compile_steps(document: "PlanDocument", graph: Graph) -> tuple[CompiledStep, ...]:
    """Return the steps of a document that has no faults, in its order."""
    return tuple(
        _compile_step(position, step, document, graph)
        for position, step in enumerate(document.steps)
    )


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
    timeout = _first(policy.timeout for policy in policies)
    deadline = _first(policy.deadline for policy in policies)
    written = _first(policy.retry for policy in policies)
    retry = _compile_retry(written) if written else RetryPolicy()
    on_failure = _first(policy.on_failure for policy in policies)
    read = names_steps(step.with_)
    if step.when is not None:
        read |= names_steps_bare(step.when)
    return CompiledStep(
        position=position,
        name=step.id,
        action=step.action,
        queue=_first(policy.queue for policy in policies),
        priority=_first(policy.priority for policy in policies) or 0,
        needs=graph.needs[position],
        successors=graph.successors[position],
        reads=_sort_positions(read, graph.positions),
        survives_skips=graph.in_sequence,
        on_failure=OnFailure(on_failure or OnFailure.ABORT),
        timeout_seconds=compile_seconds(timeout),
        deadline_seconds=compile_seconds(deadline),
        retry=retry,
        max_attempts=retry.max_attempts,
        max_lost=written.max_lost if written else DEFAULT_MAX_LOST,
        condition=step.when,
        inputs=step.with_,
    )


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
