"""What is allowed in a plan, and perhaps not what its author meant.

Promises: pure; each is a sentence that names the steps. Nothing here is a fault, and no
engine refuses it. Must not know how it is shown.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from .expressions import Expression, PlainPath, parse_bare
from .gates import Gates
from .language.breaches import Complaint
from .language.rules import Rule
from .plan import CompiledStep, Plan
from .reads import list_expressions, list_paths, list_template_expressions
from .skips import is_fallback, name_some
from .states import Section


def find_oddities(plan: Plan, reasons: Sequence[Sequence[str]]) -> Iterator[Complaint]:
    """Yield what is odd about a plan; `reasons` are what could skip each step."""
    yield from _find_unused(plan)
    yield from _find_lost_results(plan)
    yield from _find_gaps(plan, reasons)


def _find_unused(plan: Plan) -> Iterator[Complaint]:
    document = plan.definition
    expressions = [e for step in plan.steps for e in list_expressions(step)]
    expressions.extend(list_template_expressions(plan.result))
    if plan.concurrency is not None:
        expressions.extend(list_template_expressions(plan.concurrency.key))
    paths = [path.parts for path in list_paths(expressions)]
    used = {parts[1] for parts in paths if parts[0] == "parameters"}
    yield from _name_unused("parameter", document.get("parameters"), used)
    profiles = {str(step.get("profile")) for step in _written_steps(document)}
    yield from _name_unused("profile", document.get("profiles"), profiles)


def _find_lost_results(plan: Plan) -> Iterator[Complaint]:
    leaves = [
        step.name
        for step in plan.steps
        if step.section is Section.STEPS
        and not step.successors
        and not is_fallback(step)
    ]
    if plan.result is None and len(leaves) > 1:
        yield Complaint(
            Rule.NO_RESULT,
            f"{len(leaves):,} steps end the plan ({name_some(leaves)}) and no `result`"
            " is written, so the result is null",
        )


def _find_gaps(plan: Plan, reasons: Sequence[Sequence[str]]) -> Iterator[Complaint]:
    """Yield which paths lead into the result of a step that may have none."""
    # what survives a skip lies behind nothing
    gates = Gates.find([() if s.survives_skips else s.needs for s in plan.steps])
    positions = {step.name: step.position for step in plan.steps}
    found = []
    for reader, path in _list_parts_read(plan):
        source = positions[path.parts[1]]
        # steps of the end run also when others were never begun
        is_late = reader is not None and reader.section is Section.END
        if not is_late and not reasons[source]:
            continue
        if reader is None or is_late or not gates.is_behind(_runs_as(reader), source):
            found.append(f"{reader.name if reader else 'the result'} reads {path.text}")
    if found:
        message = f"leads nowhere if that step did not complete: {name_some(found)}"
        yield Complaint(Rule.RESULT_GAP, message)


def _list_parts_read(plan: Plan) -> Iterator[tuple[CompiledStep | None, PlainPath]]:
    """Yield the paths to parts of results, with who reads them: a step or `result`."""
    for step in plan.steps:
        asked = _list_steps_asked(step)
        for path in _list_unguarded(list_expressions(step)):
            if path.parts[1] not in asked:
                yield step, path
    for path in _list_unguarded(list_template_expressions(plan.result)):
        yield None, path


def _list_unguarded(expressions: Iterable[Expression]) -> list[PlainPath]:
    """Return the paths to parts of results, but where the expression asks before."""
    found = set[PlainPath]()
    for expression in expressions:
        asked = {path.parts[1] for path in expression.reads if _asks_how_it_ended(path)}
        found |= {
            path
            for path in expression.reads
            if _leads_into_result(path) and path.parts[1] not in asked
        }
    return sorted(found, key=lambda path: path.text)


def _list_steps_asked(step: CompiledStep) -> set[str]:
    """Return of which steps the condition of one asks how they ended."""
    if step.condition is None:
        return set()
    reads = parse_bare(step.condition).reads
    return {path.parts[1] for path in reads if _asks_how_it_ended(path)}


def _leads_into_result(path: PlainPath) -> bool:
    # `steps.x.result` itself is null then, and only its parts are missing
    match path.parts:
        case ["steps", _, "result", _, *_]:
            return True
        case _:
            return False


def _asks_how_it_ended(path: PlainPath) -> bool:
    match path.parts:
        case ["steps", _, "status" | "error" | "result"]:
            return True
        case _:
            return False


def _runs_as(reader: CompiledStep) -> int:
    """Return with which step one runs: what undoes another, only if that did."""
    return reader.position if reader.undoes is None else reader.undoes


def _written_steps(document: Mapping[str, object]) -> list[Mapping[str, object]]:
    steps = document["steps"]
    return steps if isinstance(steps, list) else []


def _name_unused(kind: str, declared: object, used: set[str]) -> Iterator[Complaint]:
    names = declared if isinstance(declared, Mapping) else {}
    if unused := [name for name in names if name not in used]:
        plural = "" if len(unused) == 1 else "s"
        message = f"nothing reads the {kind}{plural} {name_some(unused)}"
        yield Complaint(Rule.UNUSED_NAME, message)
