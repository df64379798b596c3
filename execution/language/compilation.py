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
from execution.expressions import names_steps
from execution.language.graph import Graph

if TYPE_CHECKING:
    from execution.language.document import PlanDocument, StepFields

DEFAULT_ATTEMPTS = 1
DEFAULT_MAX_LOST = 3

Value = TypeVar("Value")


class OnFailure(StrEnum):
    """What follows when a step has failed for good."""

    ABORT = "abort"
    SKIP = "skip"


@dataclass(frozen=True)
class CompiledStep:
    """A step with everything resolved; steps are named by their positions."""

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
    max_attempts: int
    max_lost: int
    inputs: object


def compile_steps(document: "PlanDocument", graph: Graph) -> tuple[CompiledStep, ...]:
    """Return the steps of a document that has no faults, in its order."""
    return tuple(
        _compile_step(position, step, document, graph)
        for position, step in enumerate(document.steps)
    )


def positions_read(template: object, positions: Mapping[str, int]) -> tuple[int, ...]:
    """Return the positions of the steps that a template reads, in order."""
    return tuple(sorted(positions[name] for name in names_steps(template)))


def _compile_step(
    position: int, step: "StepFields", document: "PlanDocument", graph: Graph
) -> CompiledStep:
    profile = document.profiles[step.profile] if step.profile else None
    policies = [layer for layer in (step, profile, document.defaults) if layer]
    timeout = _first(policy.timeout for policy in policies)
    retry = _first(policy.retry for policy in policies)
    on_failure = _first(policy.on_failure for policy in policies)
    return CompiledStep(
        position=position,
        name=step.id,
        action=step.action,
        queue=_first(policy.queue for policy in policies),
        priority=_first(policy.priority for policy in policies) or 0,
        needs=graph.needs[position],
        successors=graph.successors[position],
        reads=positions_read(step.with_, graph.positions),
        survives_skips=graph.in_sequence,
        on_failure=OnFailure(on_failure or OnFailure.ABORT),
        timeout_seconds=None if timeout is None else parse_duration_seconds(timeout),
        max_attempts=retry.attempts if retry else DEFAULT_ATTEMPTS,
        max_lost=retry.max_lost if retry else DEFAULT_MAX_LOST,
        inputs=step.with_,
    )


def _first(values: Iterable[Value | None]) -> Value | None:
    """Return the value of the innermost policy that states one."""
    return next((value for value in values if value is not None), None)
