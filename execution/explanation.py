"""What a plan would do, told before anything runs.

    Plan, parameters ─▶ waves, longest path, queues, and of each step: how long, how
                        often, what it reads, what could skip it ─▶ Explanation

Promises: pure; it says what the plan and the given parameters decide, and nothing of
workers, which may be busy or missing. Inputs that only parameters decide are filled in
as a worker would. Must not know how it is shown.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial

from execution.errors import ExpressionError
from execution.expressions import (
    PlainPath,
    evaluate_template,
    parse_template_text,
    texts_of,
)
from execution.plan import CompiledStep, OnFailure, Plan
from execution.retry import RetryPolicy
from execution.waves import compute_depths, sort_by_needs

_MOST_NAMED = 5


@dataclass(frozen=True)
class StepOutlook:
    """What would become of a step.

    `wave` counts from 1; `queue` is None where who submits decides. `reads` are the
    paths in its inputs; in `inputs` those are filled in that only parameters decide.
    `skipped_if` has what could skip it, one reason each. Times that are None have no
    limit in the plan: for a timeout, the action may have one of its own.
    """

    position: int
    name: str
    action: str
    wave: int
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
    that wait for each other.
    """

    plan: str
    version: str | None
    digest: str
    parameters: Mapping[str, object] | None
    deadline_seconds: float | None
    waves: tuple[tuple[str, ...], ...]
    longest_path: tuple[str, ...]
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
        queues=_count_queues(steps),
        steps=tuple(outlooks),
        result_reads=tuple(steps[position].name for position in plan.result_reads),
        warnings=(*warnings, *_find_oddities(plan), *_find_gaps(plan, reasons)),
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
        wave=depth + 1,
        queue=step.queue,
        priority=step.priority,
        needs=tuple(steps[need].name for need in step.needs),
        reads=tuple(_list_paths(step.inputs)),
        inputs=inputs,
        timeout_seconds=step.timeout_seconds,
        deadline_seconds=step.deadline_seconds,
        retry=step.retry,
        max_lost=step.max_lost,
        on_failure=step.on_failure,
        skipped_if=reasons,
    )


def _list_waves(
    steps: Sequence[CompiledStep], depths: Sequence[int]
) -> tuple[tuple[str, ...], ...]:
    waves: list[list[str]] = [[] for _ in range(max(depths) + 1)]
    for step, depth in zip(steps, depths, strict=True):
        waves[depth].append(step.name)
    return tuple(map(tuple, waves))


def _count_queues(steps: Sequence[CompiledStep]) -> tuple[QueueShare, ...]:
    counts = Counter(step.queue for step in steps)
    return tuple(QueueShare(queue, count) for queue, count in counts.most_common())


def _find_longest_path(
    steps: Sequence[CompiledStep], depths: Sequence[int]
) -> tuple[str, ...]:
    """Walk back from the deepest step, always to the deepest of its needs."""
    step = max(steps, key=lambda s: depths[s.position])
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
        if step.on_failure is OnFailure.SKIP:
            reasons[position].append("it fails for good")
        passes_on = step.needs and not step.survives_skips
        if passes_on and all(reasons[need] for need in step.needs):
            names = _name_some([steps[need].name for need in step.needs])
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
        paths = list(_list_paths(template))
        if parameters is None or any(not p.startswith("parameters.") for p in paths):
            continue
        place = f"steps.{step.name}.with.{name}"
        try:
            scope = {"parameters": parameters}
            inputs[name] = evaluate_template(template, scope, place=place)
        except ExpressionError as error:
            faults.append(f"{error}, so the step would fail")
    return inputs, faults


def _list_paths(template: object) -> Iterator[str]:
    """Yield the paths that a template reads, each once, sorted."""
    found = {
        piece.text
        for _, text in texts_of(template)
        for piece in parse_template_text(text)
        if isinstance(piece, PlainPath)
    }
    yield from sorted(found)


def _find_oddities(plan: Plan) -> Iterator[str]:
    """Yield what is allowed, and perhaps not what was meant."""
    document = plan.definition
    read = {path for step in plan.steps for path in _list_paths(step.inputs)}
    read.update(_list_paths(plan.result))
    used = {path.split(".")[1] for path in read if path.startswith("parameters.")}
    yield from _name_unused("parameter", document.get("parameters"), used)
    profiles = {str(step.get("profile")) for step in _written_steps(document)}
    yield from _name_unused("profile", document.get("profiles"), profiles)
    leaves = [step.name for step in plan.steps if not step.successors]
    if plan.result is None and len(leaves) > 1:
        yield (
            f"{len(leaves):,} steps end the plan ({_name_some(leaves)}) and no `result`"
            " is written, so the result is null"
        )


def _find_gaps(plan: Plan, reasons: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield which paths lead into the result of a step that may have none."""
    follow_skip = cache(partial(_follow_skip, plan.steps))
    found = [
        f"{name} reads {path}"
        for name, reader, path, source in _list_parts_read(plan)
        if reasons[source] and reader not in follow_skip(source)
    ]
    if found:
        yield f"leads nowhere if that step is skipped: {_name_some(found)}"


def _list_parts_read(plan: Plan) -> Iterator[tuple[str, int, str, int]]:
    """Yield name and position of who reads a part of a result, the path, and whose."""
    positions = {step.name: step.position for step in plan.steps}
    readers = [(step.name, step.position, step.inputs) for step in plan.steps]
    for name, reader, template in (*readers, ("the result", -1, plan.result)):
        for path in _list_paths(template):
            match path.split("."):
                # `steps.x.result` itself is null then, and only its parts are missing
                case ["steps", source, "result", _, *_]:
                    yield name, reader, path, positions[source]
                case _:
                    continue


def _follow_skip(steps: Sequence[CompiledStep], source: int) -> set[int]:
    """Return what is certain to be skipped with a step, itself included."""
    skipped, pending = {source}, [source]
    while pending:
        for after in steps[pending.pop()].successors:
            step = steps[after]
            is_skipped = not step.survives_skips and skipped.issuperset(step.needs)
            if is_skipped and after not in skipped:
                skipped.add(after)
                pending.append(after)
    return skipped


def _written_steps(document: Mapping[str, object]) -> list[Mapping[str, object]]:
    steps = document["steps"]
    return steps if isinstance(steps, list) else []


def _name_unused(kind: str, declared: object, used: set[str]) -> Iterator[str]:
    names = declared if isinstance(declared, Mapping) else {}
    if unused := [name for name in names if name not in used]:
        plural = "" if len(unused) == 1 else "s"
        yield f"nothing reads the {kind}{plural} {_name_some(unused)}"


def _name_some(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    named = ", ".join(names[:_MOST_NAMED])
    return f"{named} and {more:,} more" if more > 0 else named
