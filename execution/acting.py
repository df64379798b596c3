"""Acts on many executions: begin a batch, look at it, and stay in charge of it.

What is begun is carried out by the reconcilers of the workers, at a rate, whatever
becomes of who began it. What has returned holds: after `pause_batch` and `cancel_batch`
no further execution is acted on.
"""

import math
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

from .batches import (
    USUAL_RATE_PER_SECOND,
    Batch,
    BatchAct,
    BatchItemPage,
    BatchLimits,
    BatchOrder,
    BatchPage,
    BatchPreview,
    BatchStatus,
    ItemStatus,
    build_arguments,
    read_act,
)
from .errors import (
    BatchNotFoundError,
    BatchRequestError,
    InvalidBatchStateError,
)
from .filters import ExecutionFilter
from .identity import draw_execution_id, is_execution_id
from .patience import ASK_TWICE, Patience
from .places import nearest, shown
from .repository import ExecutionRepository
from .results import encode_json

NOT_GIVEN: Any = object()
"""Stands for a result that is not given, for null is one."""
_LEAST_LOOK_SECONDS = 0.1
_MOST_LOOK_SECONDS = 2.0


class BatchedExecutions:
    """What `ExecutionEngine` does to many executions at once."""

    _repository: ExecutionRepository

    def preview_act(
        self,
        act: BatchAct | str,
        wanted: ExecutionFilter,
        *,
        step: str | None = None,
        everything: bool = False,
    ) -> BatchPreview:
        """Say what `act_on_many` would do; it does nothing.

        What would run again, and what that took, is looked up for the first 500
        executions. Raises BatchRequestError as that does.
        """
        act = read_act(act)
        build_arguments(act, step, "null" if act is BatchAct.FORCE else None)
        _refuse_empty(wanted, everything=everything)
        return self._repository.preview_act(act, step, wanted)

    def act_on_many(
        self,
        act: BatchAct | str,
        wanted: ExecutionFilter,
        *,
        by: str | None = None,
        reason: str | None = None,
        rate_per_second: float | None = USUAL_RATE_PER_SECOND,
        stop_after: int | str | None = None,
        step: str | None = None,
        result: Any = NOT_GIVEN,
        everything: bool = False,
    ) -> str:
        """Begin to do an act to all executions that a filter finds; return an id.

        It is `pause`, `resume`, `cancel`, `retry`, or `skip` or `force` of the step
        that `step` names, the latter to `result`.
        The executions are chosen now, those that are in a state for it, and each is
        acted on once, by the workers' reconcilers, `rate_per_second` of them at most;
        None lets them go as fast as they can. `by` and `reason` are kept in the
        timeline of each. The batch stops itself after `stop_after` executions, or a
        share of all, `"5%"`, that were refused or went wrong. A filter that excludes
        nothing needs `everything=True`. Raises BatchRequestError for what makes no
        batch, and ResultError for a result that is no JSON.
        """
        limits = BatchLimits(rate_per_second, stop_after)
        act = read_act(act)
        text = None
        if result is not NOT_GIVEN:
            text = encode_json(result, place=f"the result of step {step}")
        arguments = build_arguments(act, step, text)
        _refuse_empty(wanted, everything=everything)
        order = BatchOrder(act, wanted.to_json(), by, reason, limits, arguments)
        batch_id = draw_execution_id()
        ASK_TWICE(self._repository.create_batch, batch_id, order, wanted)
        return batch_id

    def get_batch(self, batch_id: str) -> Batch:
        """Return a batch; raises BatchNotFoundError when there is none."""
        is_id = is_execution_id(batch_id)
        found = self._repository.get_batch(batch_id) if is_id else None
        if found is None:
            raise _not_found(batch_id)
        return found

    def list_batches(
        self, *, after: str | None = None, page_size: int = 50
    ) -> BatchPage:
        """Return one page of all batches, newest first.

        `after` is the `next_cursor` of the page before; raises CursorError for none.
        """
        return self._repository.list_batches(after=after, page_size=page_size)

    def list_batch_items(
        self,
        batch_id: str,
        *,
        status: ItemStatus | str | None = None,
        start: int = 0,
        page_size: int = 500,
    ) -> BatchItemPage:
        """Return one page of a batch's executions and what came out for each.

        Of those in `status`, from position `start` on: the `next_position` of the page
        before. Raises BatchNotFoundError, and BatchRequestError for what is no status.
        """
        chosen = None if status is None else _read_item_status(status)
        self.get_batch(batch_id)
        return self._repository.list_batch_items(
            batch_id, status=chosen, start=start, page_size=page_size
        )

    def pause_batch(
        self, batch_id: str, *, by: str | None = None, reason: str | None = None
    ) -> BatchStatus:
        """Act on no further execution until `resume_batch`.

        Raises BatchNotFoundError, and InvalidBatchStateError when it does not run.
        """
        return self._move_batch(batch_id, BatchStatus.PAUSED, by, reason)

    def resume_batch(
        self, batch_id: str, *, by: str | None = None, reason: str | None = None
    ) -> BatchStatus:
        """Go on with a batch that was paused.

        Raises BatchNotFoundError, and InvalidBatchStateError when it was not.
        """
        return self._move_batch(batch_id, BatchStatus.RUNNING, by, reason)

    def cancel_batch(
        self, batch_id: str, *, by: str | None = None, reason: str | None = None
    ) -> BatchStatus:
        """Act on no further execution, for good; what was done stays.

        Raises BatchNotFoundError, and InvalidBatchStateError when it has ended.
        """
        return self._move_batch(batch_id, BatchStatus.CANCELLED, by, reason)

    def wait_batch(
        self, batch_id: str, *, timeout_seconds: float | None = None
    ) -> Batch:
        """Wait until a batch has ended, and return it; an outage is waited out.

        Raises BatchNotFoundError, and TimeoutError: it goes on.
        """
        look = partial(Patience().until_answered, partial(self.get_batch, batch_id))
        until = time.monotonic() + (
            math.inf if timeout_seconds is None else timeout_seconds
        )
        pauses = list_pauses()
        while not (batch := look()).has_ended:
            left = until - time.monotonic()
            if left <= 0:
                raise still_going(batch, timeout_seconds)
            time.sleep(min(next(pauses), left))
        return batch

    def _move_batch(
        self, batch_id: str, status: BatchStatus, by: str | None, reason: str | None
    ) -> BatchStatus:
        before = self.get_batch(batch_id)
        landed, now = ASK_TWICE(
            self._repository.move_batch, batch_id, status, by=by, reason=reason
        )
        if now is None:
            raise _not_found(batch_id)
        if not landed and (now is not status or before.status is status):
            raise InvalidBatchStateError(_say_impossible(batch_id, now, status))
        return now


def list_pauses() -> Iterator[float]:
    """Yield for how many seconds who waits for a batch rests between two looks."""
    pause = _LEAST_LOOK_SECONDS
    while True:
        yield pause
        pause = min(2 * pause, _MOST_LOOK_SECONDS)


def still_going(batch: Batch, timeout_seconds: float | None) -> TimeoutError:
    """Return the error for who has waited long enough for a batch."""
    return TimeoutError(
        f"batch {batch.id} is still {batch.status} after {timeout_seconds:g} s, with"
        f" {batch.pending:,} executions to go; it goes on"
    )


def _say_impossible(batch_id: str, now: BatchStatus, wanted: BatchStatus) -> str:
    wish = "resumed" if wanted is BatchStatus.RUNNING else wanted.value
    prospect = {
        BatchStatus.RUNNING: "can be paused or cancelled",
        BatchStatus.PAUSED: "can be resumed or cancelled",
    }.get(now, "has ended; begin another one for what is left")
    return f"batch {batch_id} is {now} and cannot be {wish}; it {prospect}"


def _refuse_empty(wanted: ExecutionFilter, *, everything: bool) -> None:
    if not everything and wanted == ExecutionFilter():
        raise BatchRequestError(
            "the filter excludes nothing, and every execution would be acted on; name a"
            " plan, a tag, a state or a time, or say that all are meant:"
            " everything=True"
        )


def _read_item_status(word: str) -> ItemStatus:
    try:
        return ItemStatus(word)
    except ValueError as error:
        raise BatchRequestError(
            f"{shown(word)} is no state of a batch's item{nearest(word, ItemStatus)};"
            f" there are {', '.join(ItemStatus)}"
        ) from error


def _not_found(batch_id: str) -> BatchNotFoundError:
    return BatchNotFoundError(
        f"there is no batch {shown(batch_id)}; see which there are: plans batch list"
    )
