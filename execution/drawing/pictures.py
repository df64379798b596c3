"""Nodes, edges, and the words on them: what is drawn, whatever it is drawn with.

Promises: frozen values with plain text, nothing escaped; an edge points from a node to
one that waits for it. Must not know any format.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, pairwise
from typing import NamedTuple

from ..plan import CompiledStep, OnFailure, Plan, is_recovery
from ..reads import show_bare, show_repetition
from ..results import StepSummary
from ..skips import find_own_reasons, is_fallback
from ..states import Section, StepStatus
from ..waves import compute_depths

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

_RUN_ON = {"always": "at the end", "failure": "at the end, unless all went well"}


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
    may_be_left_out: bool = False
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
            return (_write_counts(counts),)
        reason = f" ({self.reason})" if self.reason else ""
        return tuple(f"{status}{reason}" for status in counts)


class Edge(NamedTuple):
    """An arrow between two nodes, by their indexes, to the one that waits.

    It is dashed where one of them may be left out. `label` says what for, if the one
    does not wait for the other in the plan's order.
    """

    before: int
    after: int
    is_dashed: bool = False
    label: str = ""


@dataclass(frozen=True)
class Picture:
    """A graph to draw; `notes` are said below it."""

    title: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    notes: tuple[str, ...] = field(default=())

    def needs(self) -> list[list[int]]:
        """Return, for each node, those that it waits for."""
        found: list[list[int]] = [[] for _ in self.nodes]
        for edge in self.edges:
            found[edge.after].append(edge.before)
        return found

    def successors(self) -> list[list[int]]:
        """Return, for each node, those that wait for it."""
        found: list[list[int]] = [[] for _ in self.nodes]
        for edge in self.edges:
            found[edge.before].append(edge.after)
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
    steps = plan.steps
    own_reasons = find_own_reasons(steps, [None] * len(steps))
    nodes = tuple(
        _picture_step(step, steps, states or {}, has_reasons=bool(reasons))
        for step, reasons in zip(steps, own_reasons, strict=True)
    )
    return Picture(
        title=title or named,
        nodes=nodes,
        edges=tuple(
            edge._replace(is_dashed=edge.is_dashed or _is_dashed(edge, nodes, steps))
            for edge in _list_edges(steps)
        ),
    )


def _picture_step(
    step: CompiledStep,
    steps: Sequence[CompiledStep],
    states: Mapping[str, StepSummary],
    *,
    has_reasons: bool,
) -> Node:
    undone = None if step.undoes is None else steps[step.undoes].name
    runs_rarely = bool(undone) or step.run_on == "failure" or is_fallback(step)
    state = states.get(step.name)
    return Node(
        name=step.name,
        last=step.name,
        details=(
            step.work,
            *_describe_step(step, steps, undone),
            *_count_items(step, states),
        ),
        is_join=len(step.needs) > 1,
        may_be_left_out=has_reasons or runs_rarely,
        statuses=(state.status,) if state else (),
        reason=state.reason if state else None,
    )


def _describe_step(
    step: CompiledStep, steps: Sequence[CompiledStep], undone: str | None
) -> Iterator[str]:
    """Yield what is said of a step below its action."""
    if step.queue:
        yield f"queue {step.queue}"
    if len(step.needs) > 1:
        yield f"join of {len(step.needs):,}"
    if step.condition is not None:
        yield f"when {show_bare(step.condition)}"
    yield from _describe_calls(step)
    if step.uses:
        yield f"uses {', '.join(step.uses)}"
    yield from _describe_failure(step, steps)
    if undone:
        yield f"undoes {undone}"
    if step.run_on:
        yield _RUN_ON[step.run_on]


def _describe_calls(step: CompiledStep) -> Iterator[str]:
    """Yield how often a step calls its action, if not once."""
    if step.for_each is not None:
        limit = f", {step.max_parallel:,} at a time" if step.max_parallel else ""
        yield f"for each of {show_bare(step.for_each)}{limit}"
    if step.repeat is not None:
        yield f"repeated {show_repetition(step.repeat)}"


def _describe_failure(
    step: CompiledStep, steps: Sequence[CompiledStep]
) -> Iterator[str]:
    if step.on_failure is OnFailure.SKIP:
        yield "skipped if it fails" if step.for_each is None else "skips failed items"
    if step.restore is not None:
        yield f"goes back to {steps[step.restore].name} if it fails"


def _count_items(step: CompiledStep, states: Mapping[str, StepSummary]) -> list[str]:
    """Say how many of a step's items are in each state, if it has any yet."""
    if step.for_each is None and step.repeat is None:
        return []
    counts: Counter[StepStatus] = Counter()
    # they are steps called x[0], x[1] …
    for index in count():
        item = states.get(f"{step.name}[{index}]")
        if item is None:
            break
        counts[item.status] += 1
    what = "items" if step.repeat is None else "iterations"
    return [f"{what}: {_write_counts(counts)}"] if counts else []


def _write_counts(counts: Mapping[StepStatus, int]) -> str:
    present = [status for status in _BY_URGENCY if status in counts]
    return ", ".join(f"{counts[status]:,} {status}" for status in present)


def _list_edges(steps: Sequence[CompiledStep]) -> Iterator[Edge]:
    """Yield who waits for whom; the first step of the end waits for all others."""
    for step in steps:
        if step.stands_in_for is not None:
            label = "strategy" if is_recovery(step) else "fallback"
            yield Edge(step.stands_in_for, step.position, True, label)
        else:
            yield from (Edge(need, step.position) for need in step.needs)
        if step.undoes is not None:
            yield Edge(step.undoes, step.position)
    ending = [step.position for step in steps if step.section is Section.END]
    for first in ending[:1]:
        yield from (Edge(position, first) for position in _list_leaves(steps))
    yield from (Edge(*pair) for pair in pairwise(ending))


def _list_leaves(steps: Sequence[CompiledStep]) -> list[int]:
    """Return the positions of the steps that nothing waits for, the end apart."""
    return [
        step.position
        for step in steps
        if step.section is Section.STEPS
        and not step.successors
        and not is_fallback(step)
    ]


def _is_dashed(
    edge: Edge, nodes: Sequence[Node], steps: Sequence[CompiledStep]
) -> bool:
    comes_later = steps[edge.after].section is not Section.STEPS
    return nodes[edge.before].may_be_left_out or (
        comes_later and nodes[edge.after].may_be_left_out
    )
