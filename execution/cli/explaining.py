"""What `plans explain` and `diff` show to people.

Promises: as `display`, nothing of a plan is taken for markup. It must not know how an
explanation or a comparison comes about.
"""

import json
from collections.abc import Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..comparison import Change, ChangeKind, Comparison
from ..durations import write_duration
from ..explanation import Explanation, StepOutlook
from ..plan import OnFailure
from ..reads import show_bare, show_repetition
from ..secrets import SCHEME
from ..states import Section
from .exits import printable, write_count
from .tables import print_table

_MOST_STEPS = 100
_MOST_ON_PATH = 12
_DEFAULT = "(default)"
_SECTIONS = tuple(Section)
"""In the order in which they come."""


def print_explanation(console: Console, explanation: Explanation) -> None:
    """Show what a plan would do; of many steps the first hundred."""
    for line in _write_head(explanation):
        console.print(line, soft_wrap=True)
    shown = sorted(explanation.steps, key=_order)[:_MOST_STEPS]
    print_table(console, _build_table(shown))
    if len(shown) < len(explanation.steps):
        console.print(
            f"the first {len(shown)} of {len(explanation.steps):,} steps;"
            " --json prints all"
        )
    for step in shown:
        for line in _write_peculiarities(step):
            console.print(printable(line), soft_wrap=True)
    for warning in explanation.warnings:
        console.print(
            f"warning: {printable(warning.message)} ({warning.rule})", soft_wrap=True
        )


def _order(step: StepOutlook) -> tuple[int, bool, int]:
    is_aside = step.stands_in_for is not None
    return _SECTIONS.index(step.section), is_aside, step.wave or 0


def _write_peculiarities(step: StepOutlook) -> Iterator[str]:
    """Say what is special about a step, a line each."""
    if step.stands_in_for is not None:
        yield f"{step.name} stands in for {step.stands_in_for}, if that fails for good"
    if step.for_each is not None:
        yield f"{step.name} runs {_write_items(step)}"
    if step.repeat is not None:
        yield f"{step.name} repeats {_name_work(step)} {show_repetition(step.repeat)}"
    if step.cache is not None:
        known_by = f"key {step.cache.key}" if step.cache.key else "inputs"
        age = write_duration(step.cache.ttl_seconds)
        yield (
            f"{step.name} uses a result of {step.action} again, of equal {known_by}"
            f" and up to {age} old"
        )
    yield from _write_surroundings(step)
    if step.when_holds is not None:
        truth = "true" if step.when_holds else "false"
        yield f"{step.name} has a condition that is {truth} with these parameters"
    for reason in step.skipped_if:
        yield f"{step.name} is left out if {reason}"


def _write_surroundings(step: StepOutlook) -> Iterator[str]:
    if step.uses:
        yield f"{step.name} waits while {' or '.join(step.uses)} is paused"
    if step.secrets:
        yield f"{step.name} is given {', '.join(SCHEME + s for s in step.secrets)}"


def _name_work(step: StepOutlook) -> str:
    if step.wait is not None:
        return f"waits for {step.wait['wait_for']}"
    if step.sleep is not None:
        return "sleeps " + " ".join(f"{how} {when}" for how, when in step.sleep.items())
    return step.action or f"plan {step.plan}"


def _write_items(step: StepOutlook) -> str:
    written = show_bare(step.for_each or "")
    known = "" if step.items is None else f" ({write_count(step.items, 'item')})"
    limit = "" if step.max_parallel is None else f", {step.max_parallel:,} at a time"
    if step.on_failure is not OnFailure.SKIP:
        skips = ""
    elif step.tolerate is None:
        skips = ", and skips those that fail"
    else:
        skips = f", and skips those that fail, {step.tolerate} at most"
    return f"for each of {written}{known}{limit}{skips}"


def print_comparison(console: Console, comparison: Comparison) -> None:
    """Show each change as a line, or that there is none."""
    if comparison.is_same:
        is_identical = comparison.before.digest == comparison.after.digest
        console.print(
            "the plans are the same"
            if is_identical
            else "the plans do the same, and are written differently"
        )
    for change in comparison.changes:
        console.print(_write_change(change), soft_wrap=True)


def _write_change(change: Change) -> Text:
    place = printable(change.place)
    before, after = (
        printable(json.dumps(value, ensure_ascii=False))
        for value in (change.before, change.after)
    )
    match change.kind:
        case ChangeKind.ADDED:
            return Text(f"+ {place}: {after}", style="green")
        case ChangeKind.REMOVED:
            return Text(f"- {place}: {before}", style="red")
        case ChangeKind.CHANGED:
            return Text(f"~ {place}: {before} → {after}", style="yellow")


def _write_head(explanation: Explanation) -> Iterator[str]:
    named = " ".join(filter(None, (explanation.plan, explanation.version)))
    yield (
        f"plan {printable(named)}: {write_count(len(explanation.steps), 'step')} in"
        f" {write_count(len(explanation.waves), 'wave')}"
    )
    path = list(explanation.longest_path)
    more = len(path) - _MOST_ON_PATH
    if more > 0:
        path[_MOST_ON_PATH // 2 : -_MOST_ON_PATH // 2] = [f"… {more:,} more …"]
    yield f"longest path: {' → '.join(path)}"
    if explanation.end:
        yield f"at the end: {', '.join(explanation.end)}"
    shares = (
        f"{printable(share.queue or _DEFAULT)} {share.steps:,}"
        for share in explanation.queues
    )
    yield f"queues: {', '.join(shares)}"
    yield f"deadline: {_write_limit(explanation.deadline_seconds)}"
    if (stated := explanation.concurrency) is not None:
        yield printable(
            f"concurrency: {stated.limit:,} at once under the key {stated.key};"
            f" on conflict {stated.on_conflict}"
        )
    if explanation.parameters is None:
        yield "parameters: not given, and some are required"
    elif explanation.parameters:
        pairs = (
            f"{name}={json.dumps(value, ensure_ascii=False)}"
            for name, value in explanation.parameters.items()
        )
        yield printable(f"parameters: {', '.join(pairs)}")
    if explanation.result_reads:
        yield f"result: from {', '.join(explanation.result_reads)}"


def _build_table(steps: list[StepOutlook]) -> Table:
    table = Table(
        *("wave", "step", "action", "queue", "timeout", "deadline", "attempts"),
        *("on failure", "reads"),
    )
    for step in steps:
        table.add_row(
            _write_wave(step),
            step.name,
            printable(_name_work(step)),
            printable(step.queue or _DEFAULT),
            _write_limit(step.timeout_seconds),
            _write_limit(step.deadline_seconds),
            _write_attempts(step),
            _write_failure(step),
            printable(", ".join(step.reads)),
        )
    return table


def _write_failure(step: StepOutlook) -> str:
    if step.restore is not None:
        most = write_count(step.restore_times or 0, "time")
        return f"{step.on_failure} {step.restore}, {most} at most"
    return f"{step.on_failure} {step.fallback or ''}".strip()


def _write_wave(step: StepOutlook) -> str:
    return "fallback" if step.stands_in_for else str(step.wave or step.section)


def _write_limit(seconds: float | None) -> str:
    return "none" if seconds is None else write_duration(seconds)


def _write_attempts(step: StepOutlook) -> str:
    """Say how often it may begin, and how long the waits between are."""
    retry = step.retry
    if retry.max_attempts == 1:
        return "1"
    first, last = (
        write_duration(s) for s in (retry.initial_seconds, retry.max_seconds)
    )
    # a wait that never grows does not come to its longest
    waits = first if retry.wait == "fixed" else f"{first} to {last}"
    return f"{retry.max_attempts:,}, {retry.wait} {waits}"
