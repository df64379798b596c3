"""Calls one Celery task inside a step, as a worker of Celery would; publishes nothing.

The task finds its request and is the current one. The signals and methods that tell of
tasks (`task_prerun`, `on_failure`, …) are called for each attempt: Django closes its
connections there, and those who trace and count tasks listen there. What a task raises
to speak to Celery becomes what it means for a step:

    Retry                 RetryableError, which waits for the countdown or until the eta
    Reject(requeue=True)  RetryableError
    Reject, Ignore        FatalError: there will be no result

It must not know how attempts are counted or recorded.
"""

import logging
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from billiard.einfo import ExceptionInfo
from celery import signals, states
from celery._state import _task_stack
from celery.app.task import Context as Request
from celery.app.trace import task_has_custom
from celery.exceptions import Ignore, Reject, Retry
from celery.result import allow_join_result
from celery.utils.time import maybe_make_aware

from ..context import Context
from ..errors import FatalError, RetryableError

logger = logging.getLogger(__name__)


def call_task(
    task: Any, step: Context, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Any:
    """Call `task` for the attempt that `step` is, and return what it returns.

    Raises what the task raises, and RetryableError or FatalError where it has asked
    Celery for something.
    """
    call = _Call(task, _build_request(task, step, args, dict(kwargs)))
    with _is_current(call), _is_told_of(call):
        try:
            call.value = _run(call)
            call.state = states.SUCCESS
            _tell_success(call)
        except Exception as error:
            # users' code raises what it likes, and Celery's signals tell of all of it
            call.value, call.state = error, _name_state(error)
            _tell_failure(call, error)
            meant = translate(error, call.request, datetime.now(UTC))
            if meant is error:
                raise
            raise meant from (getattr(error, "exc", None) or error)
        return call.value


def translate(error: Exception, request: Any, now: datetime) -> Exception:
    """Return what an error means for a step; most mean what they say.

    `now` is what the wait until an eta is measured from.
    """
    match error:
        case Retry():
            return _translate_retry(error, request, now)
        case Reject(requeue=True):
            return RetryableError(f"{request.task} asked to be tried again: {error!r}")
        case Reject() | Ignore():
            return FatalError(f"{request.task} gave no result, but raised {error!r}")
        case _:
            return error


def _translate_retry(retry: Any, request: Any, now: datetime) -> Exception:
    asked = retry.sig
    if asked is not None and (
        list(asked.args) != list(request.args) or asked.kwargs != request.kwargs
    ):
        return FatalError(
            f"{request.task} asked to be tried again with other arguments, but each"
            " attempt of a step has the same; leave out args and kwargs in retry()"
        )
    seconds = _read_wait_seconds(retry.when, now)
    when = "" if seconds is None else f" in {seconds:g} s"
    cause = f": {retry.excs}" if retry.excs else ""
    return RetryableError(
        f"{request.task} asked to be tried again{when}{cause}",
        retry_after_seconds=seconds,
    )


def _read_wait_seconds(when: Any, now: datetime) -> float | None:
    if isinstance(when, datetime):
        # without an offset it is UTC, as it is where Celery receives it
        until: datetime = maybe_make_aware(when)
        return max(0.0, (until - now).total_seconds())
    return None if when is None else max(0.0, float(when))


@dataclass
class _Call:
    """A task, the request that it sees, and how it ended, in Celery's words."""

    task: Any
    request: Any
    state: str | None = None
    value: Any = None
    begun: float = field(default_factory=time.monotonic)

    @property
    def identity(self) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
        """What the methods of a task are told of the call, by position."""
        return self.request.id, self.request.args, self.request.kwargs

    @property
    def named_identity(self) -> dict[str, Any]:
        """The same for signals, which tell it by name."""
        return dict(zip(("task_id", "args", "kwargs"), self.identity, strict=True))


def _build_request(
    task: Any, step: Context, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    carrier = getattr(task.app.current_worker_task, "request", None)
    return Request(
        id=step.idempotency_key,
        root_id=step.execution_id,
        correlation_id=step.idempotency_key,
        task=task.name,
        args=args,
        kwargs=kwargs,
        retries=step.attempt - 1,
        hostname=getattr(carrier, "hostname", None) or socket.gethostname(),
        delivery_info=dict(getattr(carrier, "delivery_info", None) or {}),
        # else `super().__call__()` of a task's class would hide this request
        called_directly=False,
        is_eager=False,
    )


@contextmanager
def _is_current(call: _Call) -> Iterator[None]:
    _task_stack.push(call.task)
    call.task.request_stack.push(call.request)
    try:
        yield
    finally:
        call.task.request_stack.pop()
        _task_stack.pop()


@contextmanager
def _is_told_of(call: _Call) -> Iterator[None]:
    told = {"sender": call.task, "task": call.task, **call.named_identity}
    signals.task_prerun.send(**told)
    try:
        yield
    finally:
        signals.task_postrun.send(**told, retval=call.value, state=call.state)


def _run(call: _Call) -> Any:
    task, request = call.task, call.request
    task.before_start(*call.identity)
    code = task if task_has_custom(task, "__call__") else task.run
    # While this is set, `retry` raises with its countdown, `replace` runs the other
    # task here, and neither publishes. It is not when signals are sent: Django's
    # connections are kept then.
    request.is_eager = True
    try:
        # what `replace` does waits for the other task
        with allow_join_result():
            return code(*request.args, **request.kwargs)
    finally:
        request.is_eager = False


def _name_state(error: Exception) -> str:
    match error:
        case Retry():
            return str(states.RETRY)
        case Reject():
            return str(states.REJECTED)
        case Ignore():
            return str(states.IGNORED)
        case _:
            return str(states.FAILURE)


def _tell_success(call: _Call) -> None:
    task, seconds = call.task, time.monotonic() - call.begun
    _hand(call, task.on_success, call.value, *call.identity)
    signals.task_success.send(sender=task, result=call.value, runtime=seconds)
    _hand(call, task.after_return, call.state, call.value, *call.identity, None)


def _tell_failure(call: _Call, error: Any) -> None:
    task = call.task
    if call.state == states.RETRY:
        trace = ExceptionInfo()
        _hand(call, task.on_retry, error.exc, *call.identity, trace)
        signals.task_retry.send(
            sender=task, request=call.request, reason=error, einfo=trace
        )
    elif call.state == states.FAILURE:
        trace = ExceptionInfo()
        _hand(call, task.on_failure, error, *call.identity, trace)
        signals.task_failure.send(
            sender=task,
            exception=error,
            traceback=error.__traceback__,
            einfo=trace,
            **call.named_identity,
        )
        _hand(call, task.after_return, call.state, error, *call.identity, None)


def _hand(call: _Call, method: Callable[..., object], *told: object) -> None:
    try:
        method(*told)
    except Exception:
        # as in Celery: how the task has ended stands
        logger.exception(
            "a task's handler failed",
            extra={"task": call.task.name, "task_id": call.request.id},
        )
