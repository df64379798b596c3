"""Checks that what a document names is there: profiles, and paths in templates.

Promises: whatever a template reads is certain to be settled before it is filled
in, and nothing is read that this release cannot give. Works on what it understands
of a faulty document. Knows nothing of file formats or of how templates are filled.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from execution.expressions import (
    PlainPath,
    TemplateError,
    parse_template_text,
    texts_of,
    wrap_expression,
)
from execution.language.findings import Findings
from execution.language.graph import Graph
from execution.language.tree import size_fault
from execution.places import Path, shown

_ROOTS = ("parameters", "steps", "execution")
_ITEM_ROOTS = ("item", "index")
_LATER_ROOTS = frozenset(("item", "index", "step", "failure"))
_OUTCOME_FIELDS = ("status", "result", "results", "error", "attempt")
_EXECUTION_FIELDS = ("id", "created_at", "tags")
_ROOTS_TEXT = "parameters.…, steps.… or execution.…"


def check_profiles(document: Mapping[str, object], findings: Findings) -> None:
    """Note every step that names a profile which the document does not have."""
    written = document.get("profiles")
    profiles = written if isinstance(written, dict) else {}
    for position, step in _steps(document):
        name = step.get("profile")
        if isinstance(name, str) and name not in profiles:
            near = findings.suggestion(name, profiles)
            message = f"no profile is called {shown(name)}{near}"
            findings.add(("steps", position, "profile"), message)


def check_templates(
    document: Mapping[str, object], graph: Graph, findings: Findings
) -> None:
    """Note every fault in the templates of a document."""
    parameters = document.get("parameters")
    declared = parameters if isinstance(parameters, dict) else {}
    for position, step in _steps(document):
        reader = _Reader(position, declared, graph, findings)
        for_each = step.get("for_each")
        if isinstance(for_each, str):
            reader.check(wrap_expression(for_each), ("steps", position, "for_each"))
            reader = replace(reader, has_items=True)
        reader.check(step.get("with"), ("steps", position, "with"))
        undo = step.get("undo")
        if isinstance(undo, dict):
            undoing = _Reader(position, declared, graph, findings, undoes=True)
            undoing.check(undo.get("with"), ("steps", position, "undo", "with"))
    reader = _Reader(None, declared, graph, findings)
    reader.check(document.get("result"), ("result",))


def _steps(document: Mapping[str, object]) -> list[tuple[int, dict[str, object]]]:
    steps = document.get("steps")
    return [
        (position, step)
        for position, step in enumerate(steps if isinstance(steps, list) else [])
        if isinstance(step, dict)
    ]


@dataclass(frozen=True)
class _Reader:
    """Whose template is checked: a step's, or the plan's result (no position).

    What `undoes` a step may read that step, also by the name `step`; a step that
    `has_items` may read `item` and `index`.
    """

    position: int | None
    parameters: Mapping[str, object]
    graph: Graph
    findings: Findings
    undoes: bool = False
    has_items: bool = False

    def check(self, template: object, path: Path) -> None:
        """Note every fault in the template at `path`."""
        if message := size_fault(template):
            self.findings.add(path, message)
        for inner, text in texts_of(template):
            if message := self._text_fault(text):
                self.findings.add((*path, *inner), message)

    def _text_fault(self, text: str) -> str | None:
        if text.startswith("secret://"):
            return "secret:// is not supported by this release yet"
        if "${" not in text:
            return None
        try:
            pieces = parse_template_text(text)
        except TemplateError as error:
            return str(error)
        paths = [piece for piece in pieces if isinstance(piece, PlainPath)]
        faults = [(path.text, self._path_fault(path)) for path in paths]
        messages = [f"${{{name}}}: {fault}" for name, fault in faults if fault]
        return "; ".join(messages) or None

    def _path_fault(self, path: PlainPath) -> str | None:
        root, *rest = path.parts
        if root == "step" and self.undoes:
            return self._field_fault("step", rest)
        if self.has_items and root in _ITEM_ROOTS:
            return None
        if root in _LATER_ROOTS:
            return f"`{root}` is not supported by this release yet"
        if root not in _ROOTS:
            return f"there is no {shown(root)}; use {_ROOTS_TEXT}"
        if not rest:
            return f"`{root}` alone is no value; write {root}. and a name"
        match root:
            case "parameters":
                return self._unknown("parameter", rest[0], self.parameters)
            case "execution":
                return self._unknown("execution field", rest[0], _EXECUTION_FIELDS)
            case _:
                return self._outcome_fault(rest[0], rest[1:])

    def _outcome_fault(self, step: str, fields: Sequence[str]) -> str | None:
        source = self.graph.positions.get(step)
        if source is None:
            return self._unknown("step", step, self.graph.positions)
        if message := self._field_fault(f"steps.{step}", fields):
            return message
        if self.position is None or self.graph.may_read(self.position, source):
            return None
        if self.undoes and source == self.position:
            return None
        if source in self.graph.ending:
            return f"{shown(step)} has `run_on`, and runs when this step has ended"
        if self.graph.in_sequence:
            return f"{shown(step)} does not run before this step; move it up"
        return (
            f"{shown(step)} need not be finished when this step starts; "
            "add it to `needs`, here or in a step that this one waits for"
        )

    def _field_fault(self, step: str, fields: Sequence[str]) -> str | None:
        if not fields:
            return f"a step is no value; write {step}.result or .status or .error"
        return self._unknown("outcome field", fields[0], _OUTCOME_FIELDS)

    def _unknown(self, kind: str, name: str, known: Iterable[str]) -> str | None:
        if name in known:
            return None
        near = self.findings.suggestion(name, known)
        return f"no {kind} is called {shown(name)}{near}"
