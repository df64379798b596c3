"""Plans as callers see them: from a file, a text, a mapping, a canvas, or Python.

Promises: a `Plan` that exists has no faults and never changes; one plan has one
definition and one digest, whether it was written as YAML, JSON or Python. Reads
at most the one file it is asked for. Knows nothing of databases or queues.
"""

import hashlib
import json
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Self

from .errors import Fault, PlanValidationError
from .language.breaches import Complaint
from .language.canvas import draw_plan
from .language.compilation import (
    CompiledStep,
    OnFailure,
    Repetition,
    is_recovery,
)
from .language.concurrency import Concurrency, OnConflict
from .language.findings import Findings
from .language.json_schema import build_schema
from .language.parameters import bind_parameters, bind_text_parameters
from .language.rules import Rule
from .language.sources import (
    Origin,
    compile_mapping,
    compile_text,
    read_text,
)
from .language.steps import NamedAction, Step, drop_unwritten
from .language.tree import MAX_DOCUMENT_BYTES
from .language.validation import CompiledPlan, warn_of_endless
from .states import EndReason

__all__ = [
    "FORMAT",
    "CompiledStep",
    "Concurrency",
    "NamedAction",
    "OnConflict",
    "OnFailure",
    "Plan",
    "Repetition",
    "Step",
    "is_recovery",
]

FORMAT = 1

_BYTE_ORDER_MARK = "\N{ZERO WIDTH NO-BREAK SPACE}"


class Plan:
    """A plan without faults, ready to be submitted."""

    __slots__ = ("_compiled", "_digest", "_origin")

    _compiled: CompiledPlan
    _digest: str
    _origin: Origin | None

    def __init__(
        self,
        name: str,
        *,
        steps: Sequence[Step],
        parameters: Mapping[str, object] | None = None,
        result: object = None,
        version: str | None = None,
        description: str | None = None,
        tags: Sequence[str] = (),
        defaults: Mapping[str, object] | None = None,
        profiles: Mapping[str, object] | None = None,
        deadline: str | None = None,
        rollback: str | Sequence[str] | None = None,
        failing: str | None = None,
        concurrency: Mapping[str, object] | None = None,
    ) -> None:
        """Build a plan in Python; the arguments are the fields of a document.

        Each takes what stands in a document, as Python has it: `parameters` names and
        their declarations, `result` a value with `${…}` in its texts, `deadline` a
        duration such as "2h". Raises PlanValidationError with every fault.
        """
        fields: dict[str, object] = {
            "format": FORMAT,
            "name": name,
            "version": version,
            "description": description,
            "tags": tags,
            "parameters": parameters,
            "profiles": profiles,
            "defaults": defaults,
            "deadline": deadline,
            "rollback": rollback,
            "failing": failing,
            "concurrency": concurrency,
            "steps": [step.as_mapping() for step in steps],
            "result": result,
        }
        self._adopt(compile_mapping(drop_unwritten(fields)))

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Self:
        """Read a plan from a file: JSON if its name ends so, else as `from_text`.

        Raises PlanValidationError with every fault, with lines and columns, and
        when the file cannot be read or exceeds 4 MB.
        """
        return cls.from_text(_read_file(FilePath(path)), source=str(path))

    @classmethod
    def from_text(cls, text: str, *, source: str = "<text>") -> Self:
        """Read a plan from the text of a YAML or JSON document.

        `source` names the text in faults; by its ending (`.json`, `.yaml`, `.yml`)
        it also says how to read it, and otherwise a leading `{` means JSON.
        Raises PlanValidationError with every fault, with lines and columns.
        """
        origin = Origin(text.removeprefix(_BYTE_ORDER_MARK), source)
        return cls._from_compiled(compile_text(origin), origin)

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, object]) -> Self:
        """Take a plan from the fields of a document as Python values.

        The values are copied. Raises PlanValidationError with every fault.
        """
        return cls._from_compiled(compile_mapping(mapping))

    @classmethod
    def from_canvas(cls, canvas: object, *, name: str, lossy: bool = False) -> Self:
        """Take a plan from a signature, chain, group or chord of Celery's.

        The plan's result is what the canvas would give. What a plan cannot say is
        listed with its place, such as `chain[2].options.link_error`: in a
        PlanValidationError, together with the plan's own faults; or, if it may be
        `lossy`, in the warnings of the plan.
        """
        drawn = draw_plan(canvas)
        fields = {"format": FORMAT, "name": name, **drawn.fields}
        try:
            compiled = compile_mapping(fields)
        except PlanValidationError as error:
            own = map(drawn.locate, error.faults)
            raise PlanValidationError((*drawn.losses, *own)) from error
        if drawn.losses and not lossy:
            raise PlanValidationError(drawn.losses)
        losses = (Complaint(Rule.LOST_OPTION, str(loss)) for loss in drawn.losses)
        warnings = (*compiled.warnings, *losses)
        return cls._from_compiled(replace(compiled, warnings=warnings))

    @staticmethod
    def json_schema() -> dict[str, object]:
        """Return the JSON Schema (draft 2020-12) of plan documents, for editors.

        What it refuses is a fault; edges, templates and what declarations mean are
        beyond it, and are checked where a plan is made.
        """
        return build_schema()

    @property
    def name(self) -> str:
        """The name of the plan."""
        return self._compiled.document.name

    @property
    def version(self) -> str | None:
        """The version, as the author numbers them."""
        return self._compiled.document.version

    @property
    def description(self) -> str | None:
        """What the plan is for."""
        return self._compiled.document.description

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags, as written."""
        return tuple(self._compiled.document.tags)

    @property
    def definition(self) -> dict[str, object]:
        """A fresh copy of the whole document in JSON types, as it is stored."""
        return dict(json.loads(self._compiled.canonical))

    @property
    def digest(self) -> str:
        """The SHA-256 of the definition as canonical JSON, in 64 hex digits."""
        return self._digest

    @property
    def steps(self) -> tuple[CompiledStep, ...]:
        """The steps in the order of the document, with their policies merged.

        After them come those that undo some of them.
        """
        return self._compiled.steps

    @property
    def rollback(self) -> tuple[EndReason, ...]:
        """For which ends of an execution the steps that have completed are undone."""
        return self._compiled.rollback

    @property
    def cancels_running(self) -> bool:
        """Whether the failure of a step tells those that run beside it to stop."""
        return self._compiled.cancels_running

    @property
    def concurrency(self) -> Concurrency | None:
        """How many executions run at once under one key; None for any number."""
        return self._compiled.concurrency

    @property
    def deadline_seconds(self) -> float | None:
        """How long after its submit an execution must have ended; None for ever."""
        return self._compiled.deadline_seconds

    @property
    def result(self) -> object:
        """The template of the plan's result as a JSON value; None if there is none."""
        return self._compiled.document.result

    @property
    def result_reads(self) -> tuple[int, ...]:
        """The positions of the steps that the result is made of.

        Those that the template names or, without one, the only step that nothing
        waits for; none if there are several.
        """
        return self._compiled.result_reads

    @property
    def warnings(self) -> tuple[Complaint, ...]:
        """What is allowed and likely to be regretted: rules, and sentences."""
        return self._compiled.warnings

    def warn_knowing(self, timed_actions: Collection[str]) -> tuple[Complaint, ...]:
        """Return the warnings of who knows which actions have timeouts of their own."""
        endless = warn_of_endless(self.steps, self.deadline_seconds, timed_actions)
        others = (w for w in self.warnings if w.rule is not Rule.NO_TIMEOUT)
        return (*endless, *others)

    def bind(self, values: Mapping[str, object]) -> dict[str, object]:
        """Return the value of every parameter by name, in JSON types.

        `values` maps names to values; what is not given has its default, or is
        None if it has none. Raises ParameterError with every fault.
        """
        return bind_parameters(self._compiled.parameters, values)

    def bind_text(
        self, texts: Mapping[str, str], others: Mapping[str, object] | None = None
    ) -> dict[str, object]:
        """Bind texts from a command line, each read as its parameter declares.

        Objects and arrays are JSON; `others` are values for names without a text.
        Raises ParameterError with every fault.
        """
        return bind_text_parameters(self._compiled.parameters, texts, others or {})

    def locate(self, findings: Findings) -> tuple[Fault, ...]:
        """Return what was found against this plan by others, as faults of it.

        With lines and columns, if the plan was read from a text.
        """
        if self._origin is None or not findings:
            return findings.faults(self.name, lambda _: None)
        # read anew: nearly always there is nothing to locate, and a tree takes memory
        reading = read_text(self._origin, Findings())
        return findings.faults(self._origin.source, reading.locate)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plan) and self._digest == other._digest

    def __hash__(self) -> int:
        return hash(self._digest)

    def __repr__(self) -> str:
        return f"<Plan {self.name} with {len(self.steps)} steps, {self._digest[:12]}>"

    @classmethod
    def _from_compiled(
        cls, compiled: CompiledPlan, origin: Origin | None = None
    ) -> Self:
        plan = cls.__new__(cls)
        plan._adopt(compiled, origin)  # noqa: SLF001  # its own class, by another door
        return plan

    def _adopt(self, compiled: CompiledPlan, origin: Origin | None = None) -> None:
        self._compiled = compiled
        self._digest = hashlib.sha256(compiled.canonical).hexdigest()
        self._origin = origin


def _read_file(path: FilePath) -> str:
    if not path.is_file():
        # a pipe or a device could make the reader wait for ever
        raise _unreadable(path, "is not a file")
    try:
        with path.open("rb") as file:
            content = file.read(MAX_DOCUMENT_BYTES + 1)
        return content.decode()
    except OSError as error:
        raise _unreadable(path, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        message = f"is not UTF-8 text: byte {error.start + 1} is not"
        raise _unreadable(path, message) from error


def _unreadable(path: FilePath, message: str) -> PlanValidationError:
    fault = Fault(str(path), message, rule=Rule.UNREADABLE_FILE)
    return PlanValidationError((fault,))
