"""From a text or a mapping to a plan without faults, or to all of its faults.

Promises: what cannot be read, and what makes no plan, ends as one
PlanValidationError that names the source and, in a text, lines and columns. It is
given texts and opens no file; it must not know what becomes of a plan.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath

from ..errors import Fault, PlanValidationError
from .findings import Findings
from .json_reader import read_json
from .mapping_reader import read_objects
from .rules import Rule
from .tree import MAX_DOCUMENT_BYTES, Reading, UnreadableError
from .validation import CompiledPlan, compile_plan
from .yaml_reader import read_yaml


@dataclass(frozen=True)
class Origin:
    """The text that a plan was read from, and what it is called."""

    text: str
    source: str


def compile_mapping(mapping: Mapping[str, object]) -> CompiledPlan:
    """Return the plan that the fields of a document describe, as Python values.

    Raises PlanValidationError with every fault.
    """
    findings = Findings()
    try:
        reading = read_objects(mapping, findings)
    except UnreadableError as error:
        raise PlanValidationError(findings.faults("plan", lambda _: None)) from error
    return _compile_reading(reading, findings, "plan")


def compile_text(origin: Origin) -> CompiledPlan:
    """Return the plan that a YAML or JSON document describes.

    Raises PlanValidationError with every fault, with lines and columns.
    """
    text, source = origin.text, origin.source
    size = len(text.encode(errors="surrogatepass"))
    if size > MAX_DOCUMENT_BYTES:
        message = f"takes {size:,} bytes; {MAX_DOCUMENT_BYTES:,} are allowed"
        fault = Fault(source, message, rule=Rule.DOCUMENT_SIZE)
        raise PlanValidationError((fault,))
    findings = Findings()
    try:
        reading = read_text(origin, findings)
    except UnreadableError as error:
        faults = findings.faults(source, Reading(None, {}, text).locate)
        raise PlanValidationError(faults) from error
    return _compile_reading(reading, findings, source)


def read_text(origin: Origin, findings: Findings) -> Reading:
    """Return the value of a document, with the places of its parts.

    The source says by its ending how to read it, and otherwise a leading `{` means
    JSON. Raises UnreadableError when what was found leaves the rest without meaning.
    """
    read = read_json if _is_json(origin.text, origin.source) else read_yaml
    return read(origin.text, findings)


def _is_json(text: str, source: str) -> bool:
    ending = PurePath(source).suffix.lower()
    if ending in (".yaml", ".yml"):
        return False
    return ending == ".json" or text.lstrip().startswith("{")


def _compile_reading(reading: Reading, findings: Findings, source: str) -> CompiledPlan:
    compiled = compile_plan(reading.value, findings)
    if compiled is None:
        raise PlanValidationError(findings.faults(source, reading.locate))
    return compiled
