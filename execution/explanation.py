"""What a plan would do, told before anything runs.

    Plan, parameters ─▶ waves, longest path, queues, and of each step: how long, how
                        often, what it reads, what could skip it ─▶ Explanation

Promises: pure; it says what the plan and the given parameters decide, and nothing of
workers, which may be busy or missing. Inputs that only parameters decide are filled in
as a worker would. Must not know how it is shown.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from execution.errors import ExpressionError
from execution.expressions import evaluate_template
from execution.oddities import find_oddities, list_paths, name_some
from execution.plan import CompiledStep, OnFailure, Plan
from execution.retry import RetryPolicy
from execution.states import Section
from execution.waves import compute_depths, sort_by_needs


@dataclass(frozen=True)
class StepOutlook:
    """What would become of a step.

    `wave` counts from 1, and is None for what comes after the steps (see `section`);
    `undoes` names the step that it takes back, if it does. `queue` is None where who
    submits decides. With `for_each` it runs once for each item of a list.

    `reads` are the paths in its expressions; in `inputs` those are filled in that only
    parameters decide. `skipped_if` has what could let it be left out, one reason each.
    Times that are None have no limit in the plan: for a timeout, the action may have
    one of its own.
    """

    position: int
    name: str
    action: str
    section: Section
    wave: int | None
    undoes: str | None
    queue: str | None
    priority: int
    needs: tuple[str, ...]
    reads: tuple[str, ...]
    inputs: Mapping[str, object]
    timeout_seconds: float | None
    deadline_seconds: float | None
    retry: RetryPolicy
    max_lost: int
    on_failure: OnFailure
    skipped_if: tuple[str, ...]
    for_each: str | None
    max_parallel: int | None


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
    waves: tuple[tuple[str, ...], ...]
    longest_path: tuple[str, ...]
    end: tuple[str, ...]
    queues: tuple[QueueShare, ...]
    steps: tuple[StepOutlook, ...]
    result_reads: tuple[str, ...]
    warnings: tuple[str, ...]


def explain_plan(
    plan: Plan, parameters: Mapping[str, object] | None = None
) -> Explanation:
    """Return what `plan` would do with bound `parameters`, or whatever they were."""
    steps = plan.steps
    depths = compute_depths([step.needs for step in steps])
    reasons = _find_reasons_to_skip(steps)
    warnings = list(plan.warnings)
    outlooks = []
    for step, depth in zip(steps, depths, strict=True):
        inputs, faults = _fill_in(step, parameters)
        warnings.extend(faults)
        outlooks.append(
            _describe(step, depth, steps, inputs, tuple(reasons[step.position]))
        )
    return Explanation(
        plan=plan.name,
        version=plan.version,
        digest=plan.digest,
        parameters=parameters,
        deadline_seconds=plan.deadline_seconds,
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
    inputs: Mapping[str, object],
    reasons: tuple[str, ...],
) -> StepOutlook:
    return StepOutlook(
        position=step.position,
        name=step.name,
        action=step.action,
        section=step.section,
        wave=depth + 1 if step.section is Section.STEPS else None,
        undoes=None if step.undoes is None else steps[step.undoes].name,
        queue=step.queue,
        priority=step.priority,
        needs=tuple(steps[need].name for need in step.needs),
        reads=tuple(list_paths([step.inputs, step.for_each])),
        inputs=inputs,
        timeout_seconds=step.timeout_seconds,
        deadline_seconds=step.deadline_seconds,
        retry=step.retry,
        max_lost=step.max_lost,
        on_failure=step.on_failure,
        skipped_if=reasons,
        for_each=step.for_each,
        max_parallel=step.max_parallel,
    )


def _list_waves(
    steps: Sequence[CompiledStep], depths: Sequence[int]
) -> tuple[tuple[str, ...], ...]:
    waves: list[list[str]] = [[] for _ in range(max(depths) + 1)]
    for step, depth in zip(steps, depths, strict=True):
        if step.section is Section.STEPS:
            waves[depth].append(step.name)
    return tuple(map(tuple, waves))


def _count_queues(steps: Sequence[CompiledStep]) -> tuple[QueueShare, ...]:
    counts = Counter(step.queue for step in steps)
    return tuple(QueueShare(queue, count) for queue, count in counts.most_common())


def _find_longest_path(
    steps: Sequence[CompiledStep], depths: Sequence[int]
) -> tuple[str, ...]:
    """Walk back from the deepest step, always to the deepest of its needs."""
    own = [step for step in steps if step.section is Section.STEPS]
    step = max(own, key=lambda s: depths[s.position])
    path = [step.name]
    while step.needs:
        step = steps[max(step.needs, key=lambda need: depths[need])]
        path.append(step.name)
    return tuple(reversed(path))


def _find_reasons_to_skip(steps: Sequence[CompiledStep]) -> list[list[str]]:
    """Return, for each step, what could skip it; skips run on to what needs them."""
    reasons: list[list[str]] = [[] for _ in steps]
    for position in sort_by_needs([step.needs for step in steps]):
        step = steps[position]
        if step.undoes is not None:
            undone = steps[step.undoes].name
            reasons[position].append(f"{undone} has not completed, or is not undone")
        if step.run_on == "failure":
            reasons[position].append("all goes well")
        if step.on_failure is OnFailure.SKIP:
            reasons[position].append("it fails for good")
        passes_on = step.needs and not step.survives_skips
        if passes_on and all(reasons[need] for need in step.needs):
            names = name_some([steps[need].name for need in step.needs])
            verb = "is" if len(step.needs) == 1 else "are all"
            reasons[position].append(f"{names} {verb} skipped")
    return reasons


def _fill_in(
    step: CompiledStep, parameters: Mapping[str, object] | None
) -> tuple[dict[str, object], list[str]]:
    """Return the inputs with what parameters alone decide, and what would fail."""
    written = step.inputs if isinstance(step.inputs, Mapping) else {}
    inputs: dict[str, object] = dict(written)
    faults = []
    for name, template in written.items():
        paths = list(list_paths(template))
        if parameters is None or any(not p.startswith("parameters.") for p in paths):
            continue
        place = f"steps.{step.name}.with.{name}"
        try:
            scope = {"parameters": parameters}
            inputs[name] = evaluate_template(template, scope, place=place)
        except ExpressionError as error:
            faults.append(f"{error}, so the step would fail")
    return inputs, faults
