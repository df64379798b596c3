"""What is allowed in a plan, and perhaps not what its author meant.

Promises: pure; each is a sentence that names the steps. Nothing here is a fault, and no
engine refuses it. Must not know how it is shown.
"""

from collections.abc import Iterator, Mapping, Sequence

from execution.expressions import PlainPath, parse_template_text, texts_of
from execution.gates import Gates
from execution.plan import CompiledStep, Plan
from execution.states import Section

_MOST_NAMED = 5


def find_oddities(plan: Plan, reasons: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield what is odd about a plan; `reasons` are what could skip each step."""
    yield from _find_unused(plan)
    yield from _find_lost_results(plan)
    yield from _find_gaps(plan, reasons)


def list_paths(template: object) -> Iterator[str]:
    """Yield the paths that a template reads, each once, sorted."""
    found = {
        piece.text
        for _, text in texts_of(template)
        for piece in parse_template_text(text)
        if isinstance(piece, PlainPath)
    }
    yield from sorted(found)


def name_some(names: Sequence[str]) -> str:
    """Return the first few names, and how many more there are."""
    more = len(names) - _MOST_NAMED
    named = ", ".join(names[:_MOST_NAMED])
    return f"{named} and {more:,} more" if more > 0 else named


def _find_unused(plan: Plan) -> Iterator[str]:
    document = plan.definition
    templates = [[step.inputs, step.for_each] for step in plan.steps]
    read = set(list_paths(templates))
    read.update(list_paths(plan.result))
    used = {path.split(".")[1] for path in read if path.startswith("parameters.")}
    yield from _name_unused("parameter", document.get("parameters"), used)
    profiles = {str(step.get("profile")) for step in _written_steps(document)}
    yield from _name_unused("profile", document.get("profiles"), profiles)


def _find_lost_results(plan: Plan) -> Iterator[str]:
    leaves = [
        step.name
        for step in plan.steps
        if step.section is Section.STEPS and not step.successors
    ]
    if plan.result is None and len(leaves) > 1:
        yield (
            f"{len(leaves):,} steps end the plan ({name_some(leaves)}) and no `result`"
            " is written, so the result is null"
        )


def _find_gaps(plan: Plan, reasons: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield which paths lead into the result of a step that may have none."""
    # what survives a skip lies behind nothing
    gates = Gates.find([() if s.survives_skips else s.needs for s in plan.steps])
    positions = {step.name: step.position for step in plan.steps}
    found = []
    for reader, path in _list_parts_read(plan):
        source = positions[path.split(".")[1]]
        # steps of the end run also when others were never begun
        is_late = reader is not None and reader.section is Section.END
        if not is_late and not reasons[source]:
            continue
        if reader is None or is_late or not gates.is_behind(_runs_as(reader), source):
            found.append(f"{reader.name if reader else 'the result'} reads {path}")
    if found:
        yield f"leads nowhere if that step did not complete: {name_some(found)}"


def _list_parts_read(plan: Plan) -> Iterator[tuple[CompiledStep | None, str]]:
    """Yield the paths to parts of results, with who reads them: a step or `result`."""
    readers = [(step, [step.inputs, step.for_each]) for step in plan.steps]
    for reader, template in (*readers, (None, plan.result)):
        for path in list_paths(template):
            match path.split("."):
                # `steps.x.result` itself is null then, and only its parts are missing
                case ["steps", _, "result", _, *_]:
                    yield reader, path
                case _:
                    continue


def _runs_as(reader: CompiledStep) -> int:
    """Return with which step one runs: what undoes another, only if that did."""
    return reader.position if reader.undoes is None else reader.undoes


def _written_steps(document: Mapping[str, object]) -> list[Mapping[str, object]]:
    steps = document["steps"]
    return steps if isinstance(steps, list) else []


def _name_unused(kind: str, declared: object, used: set[str]) -> Iterator[str]:
    names = declared if isinstance(declared, Mapping) else {}
    if unused := [name for name in names if name not in used]:
        plural = "" if len(unused) == 1 else "s"
        yield f"nothing reads the {kind}{plural} {name_some(unused)}"
