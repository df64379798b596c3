"""The web service: asks for reports, and tells how they come along.

    uvicorn fastapi_project.web:app --timeout-graceful-shutdown 5

Promises: what was answered is committed; whoever follows an execution and comes again
with the id that was told last misses no event and gets none twice.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, TypedDict

from fastapi import Depends, FastAPI, Header, Request, Response, status
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel

from execution import ExecutionService, ExecutionStatus, ExecutionUpdate, Plan

from .problems import answer_errors

REPORT = Plan.from_file(Path(__file__).with_name("reports.yaml"))


class State(TypedDict):
    """What all requests share."""

    service: ExecutionService


@asynccontextmanager
async def open_service(app: FastAPI) -> AsyncIterator[State]:
    """Open one service for as long as the web server runs."""
    async with ExecutionService.connect() as service:
        yield {"service": service}


def get_service(request: Request) -> ExecutionService:
    """Return the service of all requests."""
    service: ExecutionService = request.state.service
    return service


Service = Annotated[ExecutionService, Depends(get_service)]


class Begun(BaseModel):
    """The answer to a request for a report."""

    execution_id: str


class Overview(BaseModel):
    """How an execution stands."""

    execution_id: str
    status: ExecutionStatus
    open_steps: int
    total_steps: int
    created_at: datetime
    ended_at: datetime | None


class Outcome(BaseModel):
    """How an execution has ended: with its report, or with why there is none."""

    status: ExecutionStatus
    report: Any
    error: str | None


class Wish(BaseModel):
    """Why something is asked for, for the history of the execution."""

    by: str | None = None
    reason: str | None = None


app = FastAPI(title="Reports", lifespan=open_service)
answer_errors(app)


@app.post("/reports", status_code=status.HTTP_202_ACCEPTED)
async def ask_for_report(
    parameters: dict[str, Any],
    service: Service,
    response: Response,
    idempotency_key: Annotated[str | None, Header()] = None,
) -> Begun:
    """Have a report made; the body has the parameters of the plan.

    The same `Idempotency-Key` with the same body answers the same execution.
    """
    execution_id = await service.submit(
        REPORT, parameters, idempotency_key=idempotency_key
    )
    response.headers["Location"] = f"/executions/{execution_id}"
    return Begun(execution_id=execution_id)


@app.get("/executions/{execution_id}")
async def show_execution(execution_id: str, service: Service) -> Overview:
    """Tell how an execution stands."""
    execution = await service.get_status(execution_id)
    return Overview(
        execution_id=execution_id,
        status=execution.status,
        open_steps=execution.open_steps,
        total_steps=execution.total_steps,
        created_at=execution.created_at,
        ended_at=execution.ended_at,
    )


@app.get("/executions/{execution_id}/result")
async def show_result(execution_id: str, service: Service) -> Outcome:
    """Tell how an execution has ended; one that has not is a conflict."""
    result = await service.get_result(execution_id)
    error = result.error.message if result.error else None
    return Outcome(status=result.status, report=result.value, error=error)


@app.post("/executions/{execution_id}/cancel", status_code=status.HTTP_202_ACCEPTED)
async def cancel_execution(
    execution_id: str, service: Service, wish: Wish | None = None
) -> dict[str, ExecutionStatus]:
    """Start no further step; one that has ended already is a conflict."""
    wish = wish or Wish()
    reached = await service.cancel(execution_id, by=wish.by, reason=wish.reason)
    return {"status": reached}


async def begin_to_follow(
    execution_id: str,
    service: Service,
    last_event_id: Annotated[str | None, Header()] = None,
) -> AsyncIterator[ExecutionUpdate]:
    """Return the updates after those that were told, if there is such an execution.

    What is wrong is found here, before the answer begins, and has its own status.
    """
    await service.get_status(execution_id)
    return service.monitor(execution_id, after=last_event_id or 0)


@app.get("/executions/{execution_id}/events", response_class=EventSourceResponse)
async def follow_execution(
    updates: Annotated[AsyncIterator[ExecutionUpdate], Depends(begin_to_follow)],
) -> AsyncIterator[ServerSentEvent]:
    """Tell each move of an execution, until it has ended.

    Each message is an update with all its events, and its id is the cursor after them:
    a reader either has all of a message or asks for it again.
    """
    async for update in updates:
        yield ServerSentEvent(
            id=update.cursor,
            event="update",
            data={
                "status": update.status,
                "percentage": update.progress.percentage,
                "events": [asdict(event) for event in update.events],
            },
        )
    # a browser would come again and again unless it is told not to
    yield ServerSentEvent(event="end", data={})
