"""What a plan would do, told before anything runs.

    Plan, parameters ─▶ waves, longest path, queues, and of each step: how long, how
                        often, what it reads, what could skip it ─▶ Explanation

Promises: pure; it says what the plan and the given parameters decide, and nothing of
workers, which may be busy or missing. What only parameters decide is worked out as a
worker would. Must not know how it is shown.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from .caching import CacheRule
from .foresight import Foresight, foresee_step
from .language.breaches import Complaint
from .oddities import find_oddities
from .plan import CompiledStep, Concurrency, OnFailure, Plan, Repetition
from .reads import list_expressions, list_paths, list_secrets, show_bare
from .retry import RetryPolicy
from .skips import find_reasons_to_skip, is_fallback
from .states import Section
from .waves import compute_depths


@dataclass(frozen=True)
class StepOutlook:
    """What would become of a step.

    `wave` counts from 1, and is None for what is in no order with the others: what
    comes after the steps (see `section`), and a step that stands in for another, which
    `stands_in_for` names. `fallback` is the one that stands in for this one. When it
    fails, the execution goes back to before `restore`, `restore_times` times at most.
    `undoes` names the step that it takes back, if it does. `queue` is None where who
    submits decides.

    `when` is its condition, and `when_holds` whether that is true, if parameters alone
    decide it. With `for_each` it runs once for each item of a list, `max_parallel` at a
    time; `items` is how many there are, if parameters alone decide it, and `tolerate`
    how many may be skipped, a number or a share in percent. With `cache`, it may use a
    result that is there already. With `repeat` it is a loop: `action` is what it
    repeats. With `sleep` it waits `for` a duration or `until` a moment; with `wait`,
    for the signal that `wait_for` names, until its `timeout`, and then comes to its
    `default`. While something is paused that the step `uses`, it waits; its action may
    use more.

    `reads` are the paths in its expressions, `secrets` the names of those in its
    inputs; in `inputs` those are filled in that only parameters decide. `skipped_if`
    has what could let it be left out, one reason each. Times that are None have no
    limit in the plan: for a timeout, the action may have one of its own.
    """

    position: int
    name: str
    action: str | None
    plan: str | None
    sleep: Mapping[str, object] | None
    wait: Mapping[str, object] | None
    section: Section
    wave: int | None
    undoes: str | None
    queue: str | None
    priority: int
    needs: tuple[str, ...]
    reads: tuple[str, ...]
    secrets: tuple[str, ...]
    inputs: Mapping[str, object]
    timeout_seconds: float | None
    deadline_seconds: float | None
    retry: RetryPolicy
    max_lost: int
    on_failure: OnFailure
    fallback: str | None
    stands_in_for: str | None
    restore: str | None
    restore_times: int | None
    skipped_if: tuple[str, ...]
    when: str | None
    when_holds: bool | None
    for_each: str | None
    items: int | None
    max_parallel: int | None
    tolerate: int | str | None
    cache: CacheRule | None
    repeat: Repetition | None
    uses: tuple[str, ...]


@dataclass(frozen=True)
class QueueShare:
    """How many steps go to a queue; None is the queue that who submits decides."""

    queue: str | None
    steps: int


@dataclass(frozen=True)
class Explanation:
    """What a plan would do.

    `parameters` is None where required ones were not given. `waves` has names of steps
    that can run at the same time, `longest_path` those of the longest row of steps
    that wait for each other, `end` those that run one after another at the end.
    """

    plan: str
    version: str | None
    digest: str
    parameters: Mapping[str, object] | None
    deadline_seconds: float | None
    concurrency: Concurrency | None
    waves: tuple[tuple[str, ...], ...]
    longest_path: tuple[str, ...]
    end: tuple[str, ...]
    queues: tuple[QueueShare, ...]
    steps: tuple[StepOutlook, ...]
    result_reads: tuple[str, ...]
    warnings: tuple[Complaint, ...]


def explain_plan(
    plan: Plan, parameters: Mapping[str, object] | None = None
) -> Explanation:
    """Return what `plan` would do with bound `parameters`, or whatever they were."""
    steps = plan.steps
    depths = compute_depths([_list_needs(step) for step in steps])
    foreseen = [foresee_step(step, parameters) for step in steps]
    reasons = find_reasons_to_skip(steps, [known.holds for known in foreseen])
    warnings = [*plan.warnings, *(f for known in foreseen for f in known.faults)]
    outlooks = (
        _describe(step, depths[position], steps, foreseen[position], reasons[position])
        for position, step in enumerate(steps)
    )
    return Explanation(
        plan=plan.name,
        version=plan.version,
        digest=plan.digest,
        parameters=parameters,
        deadline_seconds=plan.deadline_seconds,
        concurrency=plan.concurrency,
        waves=_list_waves(steps, depths),
        longest_path=_find_longest_path(steps, depths),
        end=tuple(step.name for step in steps if step.section is Section.END),
        queues=_count_queues(steps),
        steps=tuple(outlooks),
        result_reads=tuple(steps[position].name for position in plan.result_reads),
        warnings=(*warnings, *find_oddities(plan, reasons)),
    )


def _describe(
    step: CompiledStep,
    depth: int,
    steps: Sequence[CompiledStep],
    foreseen: Foresight,
    reasons: Sequence[str],
) -> StepOutlook:
    name = partial(_find_name, steps)
    return StepOutlook(
        position=step.position,
        name=step.name,
        action=None if step.is_built_in else step.action,
        plan=step.subplan,
        sleep=foreseen.inputs if step.sleep else None,
        wait=foreseen.inputs if step.wait else None,
        section=step.section,
        wave=depth + 1 if _is_in_order(step) else None,
        undoes=name(step.undoes),
        queue=step.queue,
        priority=step.priority,
        needs=tuple(steps[need].name for need in _list_needs(step)),
        reads=tuple(path.text for path in list_paths(list_expressions(step))),
        secrets=tuple(list_secrets(step)),
        inputs={} if step.sleep or step.wait else foreseen.inputs,
        timeout_seconds=step.timeout_seconds,
        deadline_seconds=step.deadline_seconds,
        retry=step.retry,
        max_lost=step.max_lost,
        **_describe_failure(step, name),
        skipped_if=tuple(reasons),
        when=None if step.condition is None else show_bare(step.condition),
        when_holds=foreseen.holds,
        for_each=step.for_each,
        items=foreseen.items,
        max_parallel=step.max_parallel,
        tolerate=_describe_tolerance(step),
        repeat=step.repeat,
        cache=step.cache,
        uses=step.uses,
    )


def _describe_failure(
    step: CompiledStep, name: Callable[[int | None], str | None]
) -> dict[str, Any]:
    return {
        "on_failure": step.on_failure,
        "fallback": name(step.fallback),
        "restore": name(step.restore),
        "restore_times": step.restore_times,
        "stands_in_for": name(step.stands_in_for),
    }


def _find_name(steps: Sequence[CompiledStep], position: int | None) -> str | None:
    return None if position is None else steps[position].name


def _describe_tolerance(step: CompiledStep) -> int | str | None:
    share = step.tolerate_percent
    return step.tolerate if share is None else f"{share:g}%"


def _list_needs(step: CompiledStep) -> tuple[int, ...]:
    """Return what a step waits for; a fallback for a failure, and not for a step."""
    return () if is_fallback(step) else step.needs


def _is_in_order(step: CompiledStep) -> bool:
    return step.section is Section.STEPS and not is_fallback(step)


def _list_waves(
    steps: Sequence[CompiledStep], depths: Sequence[int]
) -> tuple[tuple[str, ...], ...]:
    waves: list[list[str]] = [[] for _ in range(max(depths) + 1)]
    for step, depth in zip(steps, depths, strict=True):
        if _is_in_order(step):
            waves[depth].append(step.name)
    return tuple(map(tuple, waves))


def _count_queues(steps: Sequence[CompiledStep]) -> tuple[QueueShare, ...]:
    counts = Counter(step.queue for step in steps)
    return tuple(QueueShare(queue, count) for queue, count in counts.most_common())


def _find_longest_path(
    steps: Sequence[CompiledStep], depths: Sequence[int]
) -> tuple[str, ...]:
    """Walk back from the deepest step, always to the deepest of its needs."""
    own = [step for step in steps if _is_in_order(step)]
    step = max(own, key=lambda s: depths[s.position])
    path = [step.name]
    while step.needs:
        step = steps[max(step.needs, key=lambda need: depths[need])]
        path.append(step.name)
    return tuple(reversed(path))
