"""Checks that what a document names is there: profiles, and paths in expressions.

Promises: whatever an expression reads is certain to be settled before it is
evaluated, and each of them compiles. Works on what it understands of a faulty
document. Knows nothing of file formats or of how expressions are evaluated.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..expressions import (
    ROOTS,
    CelExpression,
    Expression,
    Flaw,
    PlainPath,
    TemplateError,
    find_syntax_faults,
    list_statuses,
    parse_bare,
    parse_template_text,
    quote,
    texts_of,
)
from ..places import Path, nearest, shown
from ..secrets import find_secret_fault
from ..states import StepStatus
from .breaches import Complaint
from .findings import Findings
from .graph import Graph
from .kinds import SLEEP_KINDS, WAIT_KIND
from .rules import Rule
from .tree import size_fault

_HOMES = {
    "item": "for_each",
    "index": "for_each or repeat",
    "last": "repeat",
    "step": "undo",
    "failure": "a fallback",
}
_OUTCOME_FIELDS = ("status", "result", "results", "error", "attempt")
_FAILURE_FIELDS = ("code", "message", "step", "timestamp", "recoverable", "context")
_EXECUTION_FIELDS = ("id", "created_at", "scheduled_at", "tags")
_STATUSES = tuple(status.value for status in StepStatus)


def check_profiles(document: Mapping[str, object], findings: Findings) -> None:
    """Note every step that names a profile which the document does not have."""
    written = document.get("profiles")
    profiles = written if isinstance(written, dict) else {}
    for position, step in _steps(document):
        name = step.get("profile")
        if isinstance(name, str) and name not in profiles:
            near = findings.suggestion(name, profiles)
            message = f"no profile is called {shown(name)}{near}"
            findings.add(("steps", position, "profile"), Rule.UNKNOWN_PROFILE, message)


def check_templates(
    document: Mapping[str, object], graph: Graph, findings: Findings
) -> None:
    """Note every fault in the expressions of a document."""
    parameters = document.get("parameters")
    declared = parameters if isinstance(parameters, dict) else {}
    to_compile: dict[Path, list[CelExpression]] = {}
    for position, step in _steps(document):
        roots = ROOTS | {"failure"} if position in graph.fallbacks else ROOTS
        reader = _Reader(position, declared, graph, findings, to_compile, roots)
        _check_step(step, ("steps", position), reader)
    reader = _Reader(None, declared, graph, findings, to_compile)
    reader.check(document.get("result"), ("result",))
    _check_defaults(declared, findings)
    _check_syntax(to_compile, findings)


def _check_step(step: Mapping[str, object], path: Path, reader: "_Reader") -> None:
    roots = reader.roots
    reader.check_bare(step.get("when"), (*path, "when"))
    reader.check_bare(step.get("for_each"), (*path, "for_each"))
    for_items = roots | {"item", "index"} if "for_each" in step else roots
    filling = replace(reader, roots=for_items)
    filling.check(step.get("with"), (*path, "with"), may_name_secrets=True)
    filling.check(step.get(WAIT_KIND), (*path, WAIT_KIND))
    for kind in SLEEP_KINDS:
        reader.check(step.get(kind), (*path, kind))
    cache = step.get("cache")
    if isinstance(cache, dict):
        filling.check(cache.get("key"), (*path, "cache", "key"))
    repeat = step.get("repeat")
    if isinstance(repeat, dict):
        repeating = replace(reader, roots=roots | {"last", "index"})
        place = (*path, "repeat", "with")
        repeating.check(repeat.get("with"), place, may_name_secrets=True)
        repeating.check_bare(repeat.get("until"), (*path, "repeat", "until"))
        repeating.check(repeat.get(WAIT_KIND), (*path, "repeat", WAIT_KIND))
        filling = repeating
    filling.check(step.get("default"), (*path, "default"))
    undo = step.get("undo")
    if isinstance(undo, dict):
        undoing = replace(reader, undoes=True, roots=ROOTS | {"step"})
        place = (*path, "undo", "with")
        undoing.check(undo.get("with"), place, may_name_secrets=True)


def _check_defaults(parameters: Mapping[str, object], findings: Findings) -> None:
    """Note defaults that name secrets: they would be taken for what they say."""
    for name, declaration in parameters.items():
        if not isinstance(declaration, dict):
            continue
        path: Path = ("parameters", name, "default")
        for inner, text in texts_of(declaration.get("default")):
            if message := find_secret_fault(text, may_be_secret=False):
                findings.add((*path, *inner), Rule.WRONG_SECRET, message)


def _check_syntax(
    to_compile: Mapping[Path, Sequence[CelExpression]], findings: Findings
) -> None:
    every = (expression for found in to_compile.values() for expression in found)
    faults = find_syntax_faults(every)
    for path, found in to_compile.items():
        messages = [f"{quote(e.text)}: {faults[e]}" for e in found if e in faults]
        if messages:
            findings.add(path, Rule.EXPRESSION_SYNTAX, "; ".join(messages))


def _steps(document: Mapping[str, object]) -> list[tuple[int, dict[str, object]]]:
    steps = document.get("steps")
    return [
        (position, step)
        for position, step in enumerate(steps if isinstance(steps, list) else [])
        if isinstance(step, dict)
    ]


@dataclass(frozen=True)
class _Reader:
    """Whose expressions are checked: a step's, or those of the result (no position).

    `roots` are the names that they may begin with. What `undoes` a step may read that
    step. What has no fault so far, and has to be compiled, is put into `to_compile`, by
    its place.
    """

    position: int | None
    parameters: Mapping[str, object]
    graph: Graph
    findings: Findings
    to_compile: dict[Path, list[CelExpression]] = field(default_factory=dict)
    roots: frozenset[str] = ROOTS
    undoes: bool = False

    def check(
        self, template: object, path: Path, *, may_name_secrets: bool = False
    ) -> None:
        """Note every fault in the template at `path`."""
        if message := size_fault(template):
            self.findings.add(path, Rule.VALUE_SIZE, message)
        for inner, text in texts_of(template):
            place = (*path, *inner)
            if message := find_secret_fault(text, may_be_secret=may_name_secrets):
                self.findings.add(place, Rule.WRONG_SECRET, message)
            elif found := self._text_fault(text, place):
                self.findings.add(place, found.rule, found.message)

    def check_bare(self, text: object, path: Path) -> None:
        """Note every fault in the bare expression at `path`, if it is text at all."""
        if not isinstance(text, str):
            return
        if message := find_secret_fault(text, may_be_secret=False):
            self.findings.add(path, Rule.WRONG_SECRET, message)
            return
        try:
            found = self._reads_fault([parse_bare(text)], path)
        except TemplateError as error:
            found = complain_of(error)
        if found:
            self.findings.add(path, found.rule, found.message)

    def _text_fault(self, text: str, path: Path) -> Complaint | None:
        if "${" not in text:
            return None
        try:
            pieces = parse_template_text(text)
        except TemplateError as error:
            return complain_of(error)
        expressions = [p for p in pieces if not isinstance(p, str)]
        if len(pieces) > 1 and (found := _find_unwritable(expressions)):
            return found
        return self._reads_fault(expressions, path)

    def _reads_fault(
        self, expressions: Sequence[Expression], path: Path
    ) -> Complaint | None:
        reads = dict.fromkeys(read for found in expressions for read in found.reads)
        faults = [(read.text, self._path_fault(read)) for read in reads]
        faults += [(e.text, _find_unknown_status(e)) for e in expressions]
        found = [(quote(text), fault) for text, fault in faults if fault]
        if found:
            messages = (f"{text}: {fault}" for text, fault in found)
            return Complaint(found[0][1].rule, "; ".join(messages))
        if to_compile := [e for e in expressions if isinstance(e, CelExpression)]:
            self.to_compile[path] = to_compile
        return None

    def _path_fault(self, path: PlainPath) -> Complaint | None:
        root, *rest = path.parts
        if root not in self.roots:
            return self._foreign_root(root)
        match root:
            case "item" | "index" | "last":
                return None
            case "step":
                return self._field_fault("step", rest)
            case "failure":
                return self._failure_fault(rest)
            case _ if not rest:
                message = f"`{root}` alone is no value; write {root}. and a name"
                return Complaint(Rule.NO_VALUE, message)
            case "parameters":
                rule = Rule.UNKNOWN_PARAMETER
                return self._unknown("parameter", rest[0], self.parameters, rule)
            case "execution":
                return self._unknown("execution field", rest[0], _EXECUTION_FIELDS)
            case _:
                return self._outcome_fault(rest[0], rest[1:])

    def _foreign_root(self, root: str) -> Complaint:
        if root in _HOMES:
            message = f"there is no `{root}` here; only {_HOMES[root]} has it"
            return Complaint(Rule.UNKNOWN_NAME, message)
        known = " or ".join(f"{name}.…" for name in sorted(ROOTS))
        message = f"there is no {shown(root)}; use {known}"
        return Complaint(Rule.UNKNOWN_NAME, message)

    def _outcome_fault(self, step: str, fields: Sequence[str]) -> Complaint | None:
        source = self.graph.positions.get(step)
        if source is None:
            known = self.graph.positions
            return self._unknown("step", step, known, Rule.UNKNOWN_STEP)
        if found := self._field_fault(f"steps.{step}", fields):
            return found
        if self.position is None or self.graph.may_read(self.position, source):
            return None
        if self.undoes and source == self.position:
            return None
        return Complaint(Rule.UNSETTLED_STEP, self._describe_unsettled(step, source))

    def _describe_unsettled(self, step: str, source: int) -> str:
        if source in self.graph.ending:
            return f"{shown(step)} has `run_on`, and runs when this step has ended"
        if self.graph.in_sequence:
            return f"{shown(step)} does not run before this step; move it up"
        return (
            f"{shown(step)} need not be finished when this step starts; "
            "add it to `needs`, here or in a step that this one waits for"
        )

    def _failure_fault(self, fields: Sequence[str]) -> Complaint | None:
        if not fields:
            message = "`failure` alone is no value; write failure.message or .code"
            return Complaint(Rule.NO_VALUE, message)
        return self._unknown("field of a failure", fields[0], _FAILURE_FIELDS)

    def _field_fault(self, step: str, fields: Sequence[str]) -> Complaint | None:
        if not fields:
            message = f"a step is no value; write {step}.result or .status or .error"
            return Complaint(Rule.NO_VALUE, message)
        return self._unknown("outcome field", fields[0], _OUTCOME_FIELDS)

    def _unknown(
        self,
        kind: str,
        name: str,
        known: Iterable[str],
        rule: Rule = Rule.UNKNOWN_NAME,
    ) -> Complaint | None:
        if name in known:
            return None
        near = self.findings.suggestion(name, known)
        return Complaint(rule, f"no {kind} is called {shown(name)}{near}")


def complain_of(error: TemplateError) -> Complaint:
    """Return which rule a text breaks that is no template."""
    match error.flaw:
        case Flaw.SYNTAX:
            rule = Rule.EXPRESSION_SYNTAX
        case Flaw.LIMIT:
            rule = Rule.EXPRESSION_LIMIT
        case Flaw.FUNCTION:
            rule = Rule.UNKNOWN_FUNCTION
    return Complaint(rule, str(error))


def _find_unwritable(expressions: Iterable[Expression]) -> Complaint | None:
    """Return a path that stands in text, and is known to be a list or a mapping."""
    for expression in expressions:
        if isinstance(expression, PlainPath):
            match expression.parts:
                case ["steps", _, "error"]:
                    hint = (
                        "a mapping or null; write .error.message, once it is not null"
                    )
                case ["steps", _, "results"]:
                    hint = "a list or null; let it be the whole text"
                case ["execution", "tags"]:
                    hint = "a list; let it be the whole text"
                case _:
                    continue
            message = f"{quote(expression.text)} cannot stand inside text: it is {hint}"
            return Complaint(Rule.VALUE_IN_TEXT, message)
    return None


def _find_unknown_status(expression: Expression) -> Complaint | None:
    if isinstance(expression, PlainPath):
        return None
    for word in list_statuses(expression):
        if word not in _STATUSES:
            near = nearest(word, _STATUSES) or f"; there are {', '.join(_STATUSES)}"
            message = f"no status is called {shown(word)}{near}"
            return Complaint(Rule.UNKNOWN_STATUS, message)
    return None
