"""What goes wrong, as answers over HTTP.

One table; an error that is not in it answers as the nearest kind that is. Nothing but
the message of an error is told, which names what to do and holds no secret.
"""

from collections.abc import Mapping

from fastapi import FastAPI, Request, status
from fastapi.responses import JSONResponse

from execution import (
    ExecutionNotFinishedError,
    ExecutionNotFoundError,
    PlansError,
    PlanValidationError,
    SubmissionConflictError,
)
from execution.errors import (
    ConcurrencyConflictError,
    CursorError,
    InvalidExecutionStateError,
    ServerError,
)

_STATUSES: Mapping[type[PlansError], int] = {
    ExecutionNotFoundError: status.HTTP_404_NOT_FOUND,
    ExecutionNotFinishedError: status.HTTP_409_CONFLICT,
    InvalidExecutionStateError: status.HTTP_409_CONFLICT,
    SubmissionConflictError: status.HTTP_409_CONFLICT,
    ConcurrencyConflictError: status.HTTP_409_CONFLICT,
    PlanValidationError: status.HTTP_422_UNPROCESSABLE_CONTENT,
    CursorError: status.HTTP_422_UNPROCESSABLE_CONTENT,
    ServerError: status.HTTP_503_SERVICE_UNAVAILABLE,
}
_RETRY_SECONDS = 5


def answer_errors(app: FastAPI) -> None:
    """Let the app answer the errors of plans by the table."""
    for kind, code in _STATUSES.items():
        app.add_exception_handler(kind, _Answer(code))


class _Answer:
    """Answers one kind of error with its status."""

    def __init__(self, code: int) -> None:
        """Answer with the status `code`."""
        self._code = code

    async def __call__(self, request: Request, error: Exception) -> JSONResponse:
        """Return what is told of the error, with the place of every fault in it."""
        body: dict[str, object] = {"error": type(error).__name__, "detail": str(error)}
        if isinstance(error, PlanValidationError):
            body["faults"] = [
                {"place": fault.place, "message": fault.message, "rule": fault.rule}
                for fault in error.faults
            ]
        is_away = self._code == status.HTTP_503_SERVICE_UNAVAILABLE
        headers = {"Retry-After": str(_RETRY_SECONDS)} if is_away else None
        return JSONResponse(body, self._code, headers)
