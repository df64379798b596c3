"""What `--json` prints, by command: the types of which its JSON Schema is made.

The values are those of the package, field by field. Keys do not change within a format;
later releases may add some. Times are ISO 8601 with their offset from UTC; what is not
known is null.

Loaded for the documentation and its tests alone.
"""

from datetime import datetime
from typing import Any, NotRequired

from pydantic import TypeAdapter
from typing_extensions import TypedDict

from ..batches import Batch, BatchItemPage, BatchPage, BatchPreview
from ..catalogue import ActionSummary
from ..celery.host_report import SettingFinding
from ..comparison import Change, PlanIdentity
from ..dependencies import DependencySummary
from ..dependency_records import PauseAnswer, ResumeAnswer
from ..diagnosis.findings import Finding
from ..explanation import Explanation
from ..health import HealthVerdict
from ..holds import Hold
from ..language.breaches import Complaint
from ..mending import Deed
from ..observations import LogLine
from ..obstacles import Standstill
from ..receipts import HoldAnswer
from ..results import (
    Event,
    ExecutionResult,
    ExecutionSummary,
    PlanVersion,
    RunningStep,
    StateChange,
    StepSummary,
    WorkerSummary,
)
from ..schedule_records import ScheduleChange, ScheduleRun, ScheduleSummary
from ..signal_records import Signal
from ..states import ExecutionStatus, StepStatus
from ..updates import ExecutionUpdate
from .judging import FileFault


class PublishShape(TypedDict):
    """`plans publish`."""

    plan: str
    version: str | None
    digest: str


class SubmitShape(TypedDict):
    """`plans submit`."""

    execution_id: str


class SubmitManyShape(TypedDict):
    """`plans submit --many`: in the order of the lines."""

    execution_ids: tuple[str, ...]


class ListShape(TypedDict):
    """`plans list`; `total` with --count."""

    items: tuple[ExecutionSummary, ...]
    next_cursor: str | None
    total: NotRequired[int]


class ShowShape(TypedDict):
    """`plans show`; `events` with --events."""

    execution: ExecutionSummary
    steps: tuple[StepSummary, ...]
    history: tuple[StateChange, ...]
    signals: tuple[Signal, ...]
    events: NotRequired[tuple[Event, ...]]


class PausesShape(TypedDict):
    """`plans pauses`."""

    items: tuple[Hold, ...]


class DependenciesShape(TypedDict):
    """`plans dependency list`."""

    items: tuple[DependencySummary, ...]


class UnguardShape(TypedDict):
    """`plans dependency unguard`."""

    name: str
    was_guarded: bool


class SteerShape(TypedDict):
    """`plans pause`, `resume` and `cancel`, of one execution."""

    execution_id: str
    status: ExecutionStatus
    running_steps: tuple[RunningStep, ...]


class OperatedStepShape(TypedDict):
    """A step that an act lets run, and what it has cost so far."""

    execution_id: str
    step: str
    action: str
    status: StepStatus
    attempts: int
    seconds: float
    repeats: bool
    idempotency_key: str


class OperateShape(TypedDict):
    """`plans retry`, `skip` and `force`, with --dry-run or without."""

    execution_id: str
    dry_run: bool
    status: ExecutionStatus
    steps: tuple[OperatedStepShape, ...]
    attempts: int
    seconds: float


class PreviewShape(TypedDict):
    """`plans bulk` with --dry-run."""

    preview: BatchPreview


class WorkersShape(TypedDict):
    """`plans workers`."""

    items: tuple[WorkerSummary, ...]


class ActionsShape(TypedDict):
    """`plans actions`."""

    items: tuple[ActionSummary, ...]


class LogsShape(TypedDict):
    """`plans logs`; with --follow, one of the items on each line."""

    items: tuple[LogLine, ...]


class VersionsShape(TypedDict):
    """`plans versions`."""

    items: tuple[PlanVersion, ...]


class DiffShape(TypedDict):
    """`plans diff`."""

    same: bool
    before: PlanIdentity
    after: PlanIdentity
    changes: tuple[Change, ...]


class FileShape(TypedDict):
    """`plans validate` of one file."""

    valid: bool
    plan: str | None
    version: str | None
    digest: str | None
    steps: int
    faults: tuple[FileFault, ...]
    warnings: tuple[Complaint, ...]
    file: str


class FilesShape(TypedDict):
    """`plans validate` of several files."""

    valid: bool
    faults: tuple[FileFault, ...]
    files: tuple[FileShape, ...]


class CheckShape(TypedDict):
    """`plans db check`."""

    fits: bool
    differences: tuple[str, ...]


class InspectAppShape(TypedDict):
    """`plans inspect-app`."""

    findings: tuple[SettingFinding, ...]


class DoctorShape(TypedDict):
    """`plans doctor`: what it found, did not look at, and did with --fix."""

    findings: tuple[Finding, ...]
    limits: tuple[str, ...]
    done: tuple[Deed, ...]


class SchedulesShape(TypedDict):
    """`plans schedule list`."""

    items: tuple[ScheduleSummary, ...]


class ScheduleShape(TypedDict):
    """`plans schedule show`."""

    schedule: ScheduleSummary
    runs: tuple[ScheduleRun, ...]
    changes: tuple[ScheduleChange, ...]


class TimesShape(TypedDict):
    """`plans schedule next`."""

    times: tuple[datetime, ...]


class DeletedScheduleShape(TypedDict):
    """`plans schedule delete`."""

    schedule: str
    deleted: bool


SHAPES: dict[str, Any] = {
    "publish": PublishShape,
    "submit": SubmitShape | SubmitManyShape,
    "run": ExecutionResult,
    "list": ListShape,
    "show": ShowShape,
    "watch": ExecutionUpdate,
    "logs": LogsShape | LogLine,
    "pause": SteerShape | HoldAnswer | PauseAnswer,
    "resume": SteerShape | HoldAnswer | ResumeAnswer,
    "pauses": PausesShape,
    "dependency list": DependenciesShape,
    "dependency guard": DependencySummary,
    "dependency unguard": UnguardShape,
    "cancel": SteerShape,
    "signal": Signal,
    "retry": OperateShape,
    "skip": OperateShape,
    "force": OperateShape,
    "why": Standstill,
    "bulk": Batch | PreviewShape,
    "batch list": BatchPage,
    "batch show": Batch,
    "batch items": BatchItemPage,
    "batch pause": Batch,
    "batch resume": Batch,
    "batch cancel": Batch,
    "batch wait": Batch,
    "schedule create": ScheduleSummary,
    "schedule update": ScheduleSummary,
    "schedule list": SchedulesShape,
    "schedule show": ScheduleShape,
    "schedule next": TimesShape,
    "schedule pause": ScheduleSummary,
    "schedule resume": ScheduleSummary,
    "schedule run": ScheduleRun,
    "schedule delete": DeletedScheduleShape,
    "workers": WorkersShape,
    "health": HealthVerdict,
    "actions": ActionsShape | ActionSummary,
    "validate": FileShape | FilesShape,
    "explain": Explanation,
    "versions": VersionsShape,
    "diff": DiffShape,
    "inspect-app": InspectAppShape,
    "doctor": DoctorShape,
    "db check": CheckShape,
}
"""By command. Of `watch`, and of `logs --follow`, each line is one."""


def build_json_schema() -> dict[str, Any]:
    """Return the JSON Schema of all: under `properties`, each command by its name."""
    schema: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What `plans COMMAND --json` prints, by command",
        "type": "object",
    }
    properties, definitions = {}, {}
    for name, shape in SHAPES.items():
        found = TypeAdapter(shape).json_schema(mode="serialization")
        definitions.update(found.pop("$defs", {}))
        properties[name] = found
    return {**schema, "properties": properties, "$defs": definitions}
