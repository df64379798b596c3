"""From a value that was read to a plan that can run, or to all of its faults.

    read ──▶ sort fields ──▶ schema ──▶ parameters, profiles, retries, edges, templates
                                              └──▶ compile, if nothing was found

Promises: every stage looks at what it can understand, whatever the others have
found, so that an author sees all faults at once. Knows nothing of file formats.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ..places import Path, shown
from ..states import EndReason, Section
from .breaches import Complaint, UnfitError
from .caching import check_caches
from .compilation import (
    CompiledStep,
    compile_seconds,
    compile_steps,
    positions_read,
)
from .concurrency import (
    Concurrency,
    check_concurrency,
    compile_concurrency,
)
from .document import MAX_STEPS, PlanDocument
from .fields import sort_fields
from .findings import Findings
from .graph import Graph, build_graph
from .items import check_items, warn_of_items
from .kinds import check_kinds
from .loops import check_loops, warn_of_loops
from .parameters import (
    Parameter,
    check_declarations,
    declared_parameters,
)
from .references import check_profiles, check_templates
from .restores import check_restores
from .retry_rules import check_retries
from .rules import Rule
from .sections import (
    check_sections,
    list_rollback_reasons,
    warn_of_sections,
)
from .signals import check_signals
from .sleeps import check_sleeps
from .subplans import check_subplans
from .tree import MAX_DOCUMENT_BYTES, canonical_json

_MAX_NAMED_STEPS = 5
_RANGES = frozenset(("too_short", "too_long", "greater_than_equal", "less_than_equal"))


@dataclass(frozen=True)
class CompiledPlan:
    """A plan without faults; `canonical` is its definition as canonical JSON."""

    document: PlanDocument
    canonical: bytes
    steps: tuple[CompiledStep, ...]
    deadline_seconds: float | None
    result_reads: tuple[int, ...]
    rollback: tuple[EndReason, ...]
    cancels_running: bool
    concurrency: Concurrency | None
    parameters: Mapping[str, Parameter]
    warnings: tuple[Complaint, ...]


def compile_plan(value: object, findings: Findings) -> CompiledPlan | None:
    """Return the plan that a JSON value describes, or None when it has faults."""
    if not isinstance(value, dict):
        message = f"must be a mapping of fields such as `steps`, not {shown(value)}"
        findings.add((), Rule.WRONG_TYPE, message)
        return None
    fields = sort_fields(value, findings)
    if not isinstance(fields, dict) or not _has_bearable_size(fields, findings):
        return None
    document = _apply_schema(fields, findings)
    graph = _check_meaning(fields, findings)
    if document is None or findings:
        return None
    return _compile(document, fields, graph)


def _has_bearable_size(fields: dict[str, object], findings: Findings) -> bool:
    """Refuse what is too large to be looked into."""
    size = len(canonical_json(fields))
    if size > MAX_DOCUMENT_BYTES:
        message = f"takes {size:,} bytes; {MAX_DOCUMENT_BYTES:,} are allowed"
        findings.add((), Rule.DOCUMENT_SIZE, message)
        return False
    steps = fields.get("steps")
    if isinstance(steps, list) and len(steps) > MAX_STEPS:
        message = f"has {len(steps):,} steps; {MAX_STEPS:,} are allowed"
        findings.add(("steps",), Rule.STEP_COUNT, message)
        return False
    return True


def _apply_schema(fields: dict[str, object], findings: Findings) -> PlanDocument | None:
    try:
        return PlanDocument.model_validate(fields)
    except ValidationError as error:
        for path, found in _schema_faults(error):
            findings.add(_cut_to(fields, path), found.rule, found.message)
        return None


def _schema_faults(error: ValidationError) -> Iterator[tuple[Path, Complaint]]:
    for detail in error.errors(include_url=False):
        path: Path = detail["loc"]
        if path[-1] == "[key]":
            path = path[:-1]
        yield path, Complaint(_schema_rule(detail), _schema_message(detail))


def _cut_to(fields: dict[str, object], path: Path) -> Path:
    """Return as much of a path as is written: one value may stand for a list of it."""
    value: object = fields
    for depth, part in enumerate(path):
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list) and isinstance(part, int):
            value = value[part]
        else:
            return path[:depth]
    return path


def _schema_rule(detail: ErrorDetails) -> Rule:
    match detail["type"]:
        case "missing":
            return Rule.MISSING_FIELD
        case "value_error":
            error = detail["ctx"]["error"]
            return error.rule if isinstance(error, UnfitError) else Rule.WRONG_DURATION
        case "literal_error" if not isinstance(detail["input"], dict):
            return Rule.WRONG_VALUE
        case kind if kind in _RANGES:
            return Rule.OUT_OF_RANGE
        case _:
            return Rule.WRONG_TYPE


def _schema_message(detail: ErrorDetails) -> str:
    given = shown(detail["input"])
    match detail["type"]:
        case "missing":
            return "is missing"
        case "value_error":
            # that it is a mapping says nothing of what is wrong in it
            quoted = "" if isinstance(detail["input"], dict) else f"{given}: "
            return f"{quoted}{detail['ctx']['error']}"
        case "string_type":
            return f"must be text, and is {given}; put text in quotes"
        case "list_type":
            return f"must be a list, and is {given}"
        case "dict_type" | "model_type":
            return f"must be a mapping, and is {given}"
        case "too_short":
            return "must not be empty"
        case "literal_error" if isinstance(detail["input"], dict):
            return "cannot be a mapping here"
        case _:
            return f"{detail['msg']}, and is {given}".replace("Input should", "must", 1)


def _check_meaning(fields: dict[str, object], findings: Findings) -> Graph:
    check_declarations(fields.get("parameters"), findings)
    check_concurrency(fields, findings)
    check_profiles(fields, findings)
    check_retries(fields, findings)
    check_kinds(fields, findings)
    check_subplans(fields, findings)
    check_sleeps(fields, findings)
    check_signals(fields, findings)
    steps = fields.get("steps")
    graph = build_graph(steps if isinstance(steps, list) else [], findings)
    check_sections(fields, graph, findings)
    check_items(fields, findings)
    check_loops(fields, findings)
    check_restores(fields, graph, findings)
    check_caches(fields, findings)
    check_templates(fields, graph, findings)
    return graph


def _compile(
    document: PlanDocument, fields: dict[str, object], graph: Graph
) -> CompiledPlan:
    steps = compile_steps(document, graph)
    deadline_seconds = compile_seconds(document.deadline)
    leaves = graph.leaves()
    if document.result is not None:
        result_reads = positions_read(document.result, graph.positions)
    else:
        result_reads = leaves if len(leaves) == 1 else ()
    return CompiledPlan(
        document=document,
        canonical=canonical_json(_without_empty(fields)),
        steps=steps,
        deadline_seconds=deadline_seconds,
        result_reads=result_reads,
        rollback=list_rollback_reasons(document),
        cancels_running=document.failing == "cancel_running",
        concurrency=compile_concurrency(document),
        parameters=declared_parameters(document.parameters),
        warnings=(
            *warn_of_endless(steps, deadline_seconds),
            *warn_of_sections(document, steps),
            *warn_of_items(steps),
            *warn_of_loops(steps),
        ),
    )


def _without_empty(fields: dict[str, Any]) -> dict[str, Any]:
    """Drop what says as much when it is left out, so that spellings agree.

    An empty `needs` is not among it: it makes a root.
    """
    steps = [_without_empty_inputs(step) for step in fields["steps"]]
    optional = ("tags", "parameters", "profiles", "defaults", "rollback")
    kept = {name: item for name, item in fields.items() if name not in optional or item}
    return {**kept, "steps": steps}


def _without_empty_inputs(step: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in step.items() if name != "with" or value}
    if "repeat" in kept:
        kept["repeat"] = _without_empty_inputs(kept["repeat"])
    return kept


def warn_of_endless(
    steps: tuple[CompiledStep, ...],
    deadline_seconds: float | None,
    timed_actions: Collection[str] = (),
) -> Iterator[Complaint]:
    """Yield that steps have no limit; `timed_actions` have timeouts of their own."""
    endless = [
        step.name
        for step in steps
        if step.timeout_seconds is None
        and step.deadline_seconds is None
        and not step.is_built_in
        and (deadline_seconds is None or step.section is not Section.STEPS)
        and step.action not in timed_actions
    ]
    if endless:
        names = ", ".join(endless[:_MAX_NAMED_STEPS])
        more = len(endless) - _MAX_NAMED_STEPS
        rest = f" and {more:,} more" if more > 0 else ""
        message = f"steps without a timeout can run for ever: {names}{rest}"
        yield Complaint(Rule.NO_TIMEOUT, message)
