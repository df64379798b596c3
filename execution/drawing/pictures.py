"""Nodes, edges, and the words on them: what is drawn, whatever it is drawn with.

Promises: frozen values with plain text, nothing escaped; an edge points from a node to
one that waits for it. Must not know any format.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from execution.plan import CompiledStep, OnFailure, Plan
from execution.results import StepSummary
from execution.states import StepStatus
from execution.waves import compute_depths

TIMES = "\N{MULTIPLICATION SIGN}"

_BY_URGENCY = (
    StepStatus.FAILED,
    StepStatus.TIMED_OUT,
    StepStatus.RUNNING,
    StepStatus.WAITING,
    StepStatus.READY,
    StepStatus.PENDING,
    StepStatus.CANCELLED,
    StepStatus.SKIPPED,
    StepStatus.COMPLETED,
)
"""Of many steps that are drawn as one, the first of these gives the colour."""


@dataclass(frozen=True)
class Node:
    """One step, or many that are drawn as one.

    `name` is that of the first and `last` of the last of them. `details` are what else
    is known of the step, line by line; `statuses` has the state of each, or is empty.
    """

    name: str
    last: str
    details: tuple[str, ...]
    is_join: bool = False
    may_be_skipped: bool = False
    count: int = 1
    statuses: tuple[StepStatus, ...] = ()
    reason: str | None = None

    @property
    def status(self) -> StepStatus | None:
        """The state that needs a look most, if states are known."""
        return next((s for s in _BY_URGENCY if s in self.statuses), None)

    @property
    def lines(self) -> tuple[str, ...]:
        """All that is written on the node, its name first."""
        head = self.name
        if self.count > 1:
            head = f"{self.name} … {self.last} {TIMES}{self.count:,}"
        return (head, *self.details, *self._write_states())

    def _write_states(self) -> tuple[str, ...]:
        counts = Counter(self.statuses)
        if len(counts) > 1:
            present = [status for status in _BY_URGENCY if status in counts]
            return (", ".join(f"{counts[status]:,} {status}" for status in present),)
        reason = f" ({self.reason})" if self.reason else ""
        return tuple(f"{status}{reason}" for status in counts)


@dataclass(frozen=True)
class Picture:
    """A graph to draw; `edges` are pairs of indexes of `nodes`.

    `notes` are said below the picture.
    """

    title: str
    nodes: tuple[Node, ...]
    edges: tuple[tuple[int, int], ...]
    notes: tuple[str, ...] = field(default=())

    def needs(self) -> list[list[int]]:
        """Return, for each node, those that it waits for."""
        found: list[list[int]] = [[] for _ in self.nodes]
        for before, after in self.edges:
            found[after].append(before)
        return found

    def successors(self) -> list[list[int]]:
        """Return, for each node, those that wait for it."""
        found: list[list[int]] = [[] for _ in self.nodes]
        for before, after in self.edges:
            found[before].append(after)
        return found

    def layers(self) -> list[int]:
        """Return, for each node, the length of the longest way to it from a root."""
        return compute_depths(self.needs())

    @property
    def runs_down(self) -> bool:
        """Whether it is better drawn from top to bottom than from left to right.

        Pages are scrolled downwards, so the longer side should be the height.
        """
        depths = Counter(self.layers())
        return max(depths.values()) <= len(depths)


def picture_plan(
    plan: Plan,
    *,
    title: str | None = None,
    states: Mapping[str, StepSummary] | None = None,
) -> Picture:
    """Return what a plan looks like, with the states of an execution if given.

    `states` has steps by name; `title` is the plan's name and version by default.
    """
    named = " ".join(filter(None, (plan.name, plan.version)))
    return Picture(
        title=title or named,
        nodes=tuple(_picture_step(step, states or {}) for step in plan.steps),
        edges=_list_edges(plan.steps),
    )


def _picture_step(step: CompiledStep, states: Mapping[str, StepSummary]) -> Node:
    is_join = len(step.needs) > 1
    may_be_skipped = step.on_failure is OnFailure.SKIP
    state = states.get(step.name)
    return Node(
        name=step.name,
        last=step.name,
        details=(
            step.action,
            *([f"queue {step.queue}"] if step.queue else ()),
            *([f"join of {len(step.needs):,}"] if is_join else ()),
            *(["skipped if it fails"] if may_be_skipped else ()),
        ),
        is_join=is_join,
        may_be_skipped=may_be_skipped,
        statuses=(state.status,) if state else (),
        reason=state.reason if state else None,
    )


def _list_edges(steps: Sequence[CompiledStep]) -> tuple[tuple[int, int], ...]:
    return tuple((need, step.position) for step in steps for need in step.needs)
