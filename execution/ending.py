"""Finishes an execution whose last step has ended: its result, its terminal state.

Called by whoever completed the last step and, should that one die, by a reconciler;
both come through here, and the first one to finish it wins.
"""

import logging
from datetime import UTC, datetime
from typing import Any

from .answers import Ending
from .errors import (
    ErrorCode,
    ExpressionError,
    PayloadError,
    PayloadLostError,
    ResultError,
)
from .events import ExecutionEventEmitter
from .expressions import evaluate_template
from .records import StepRecords
from .results import ErrorRecord, encode_json, error_code
from .states import EndReason, ExecutionStatus, final_status

logger = logging.getLogger(__name__)


def finish_execution(
    records: StepRecords, emitter: ExecutionEventEmitter, execution_id: str
) -> bool:
    """Bring an execution without open steps to its terminal state.

    Says whether this call did it; False when somebody else has, or it is not due, or a
    large value cannot be read at this moment: a reconciler asks again.
    """
    ending = records.read_ending(execution_id)
    if ending is None:
        return False
    if ending.reason is not EndReason.RESULT:
        return finish_stopped(records, emitter, execution_id)
    try:
        status, result, error = _conclude(ending)
    except PayloadError as failure:
        logger.warning(
            "the result of an execution waits for its large values",
            extra={"execution_id": execution_id, "cause": str(failure)},
        )
        return False
    landed, last_seq = records.finish(execution_id, status, result=result, error=error)
    if landed:
        _tell(emitter, execution_id, status, last_seq)
    return landed


def finish_stopped(
    records: StepRecords, emitter: ExecutionEventEmitter, execution_id: str
) -> bool:
    """Do the same for an execution that was stopped, or has failed.

    What needs a result is left to a reconciler: producers may not say what it is.
    """
    landed, status, last_seq = records.finish_stopped(execution_id)
    if landed and status is not None:
        _tell(emitter, execution_id, status, last_seq)
    return landed


def _tell(
    emitter: ExecutionEventEmitter,
    execution_id: str,
    status: ExecutionStatus,
    last_seq: int | None,
) -> None:
    emitter.emit(execution_id, last_seq, is_last=True)
    logger.info(
        "execution ended",
        extra={"execution_id": execution_id, "status": status.value},
    )


def _conclude(ending: Ending) -> tuple[ExecutionStatus, str | None, str | None]:
    try:
        value = _evaluate_result(ending)
        return final_status(ending.reason), _encode_result(value), None
    except (ExpressionError, PayloadLostError, ResultError) as error:
        record = _build_record(error_code(error), str(error))
        return ExecutionStatus.FAILED, None, record


def _evaluate_result(ending: Ending) -> Any:
    if ending.template is not None:
        return evaluate_template(ending.template, ending.scope, place="result")
    steps = ending.scope["steps"]
    only_leaf = next(iter(steps.values()), None)
    return only_leaf["result"] if only_leaf else None


def _encode_result(value: object) -> str:
    return encode_json(
        value,
        place="result",
        remedy="name the result of a step as a whole, which may be larger",
    )


def _build_record(code: ErrorCode, message: str) -> str:
    record = ErrorRecord(
        code=code,
        message=message,
        step=None,
        timestamp=datetime.now(UTC),
        recoverable=False,
    )
    return encode_json(record.to_json(), place="error")
