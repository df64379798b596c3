"""Signals to executions: what a person or a program says, and a step waits for.

Promises: what has returned is kept, and taken by one step at most; what is refused has
changed nothing. Must not know how a step waits.
"""

import uuid
from functools import partial
from typing import Any

from .dispatcher import ExecutionDispatcher
from .errors import (
    Fault,
    InvalidExecutionStateError,
    ParameterError,
    ResultError,
    SignalConflictError,
    SignalNotAwaitedError,
)
from .events import ExecutionEventEmitter
from .identity import is_execution_id
from .inspection import not_found
from .language.parameters import bind_payload, read_declarations
from .language.rules import Rule
from .patience import ASK_TWICE
from .relay import ExecutionRelay
from .results import encode_json
from .signal_records import Awaiting, SendAnswer, Sent, Signal, SignalRecords
from .states import is_terminal

_MOST_NAMED = 10


class SignalledExecutions:
    """What `ExecutionEngine` can do with signals."""

    _signals: SignalRecords
    _emitter: ExecutionEventEmitter
    _dispatcher: ExecutionDispatcher
    _relay: ExecutionRelay

    def signal(
        self,
        execution_id: str,
        name: str,
        payload: Any = None,
        *,
        by: str | None = None,
        reason: str | None = None,
        key: str | None = None,
    ) -> Signal:
        """Send a signal to an execution, and return it as it is kept.

        The first step that waits for `name` takes it, and has `payload`, which is JSON,
        as its result; without one it is kept for the first that will. Who sent it, and
        why, is in the timeline. The same `key` with the same name and payload sends
        nothing more, and returns what was sent first.

        Raises ExecutionNotFoundError; InvalidExecutionStateError when it has ended;
        SignalNotAwaitedError when no step of its plan could ever take it;
        ParameterError for a payload that the step does not ask for, or that is no JSON;
        SignalConflictError for a key of another signal.
        """
        awaiting = self._read_awaiting(execution_id, name)
        if awaiting.takers:
            payload = _bind(awaiting, payload)
        # with its id drawn, a call can be made again
        send = partial(
            self._signals.send,
            signal_id=str(uuid.uuid4()),
            by=by,
            reason=reason,
            key=key,
        )
        answer = ASK_TWICE(send, execution_id, name, _encode(payload))
        _refuse(answer, awaiting, execution_id, name, key)
        self._follow_signal(execution_id, answer)
        sent = self.list_signals(execution_id)
        return next(signal for signal in sent if signal.id == answer.signal_id)

    def list_signals(self, execution_id: str) -> tuple[Signal, ...]:
        """Return the signals that were sent to an execution, in their order."""
        return ASK_TWICE(self._signals.list_signals, execution_id)

    def _read_awaiting(self, execution_id: str, name: str) -> Awaiting:
        awaiting = None
        if is_execution_id(execution_id):
            awaiting = ASK_TWICE(self._signals.read_awaiting, execution_id, name)
        if awaiting is None:
            raise not_found(execution_id)
        return awaiting

    def _follow_signal(self, execution_id: str, answer: SendAnswer) -> None:
        completion = answer.completion
        if completion is None:
            return
        self._emitter.emit(
            execution_id, completion.last_seq, is_last=completion.has_ended
        )
        self._dispatcher.publish(completion.windows)
        if completion.is_last:
            ASK_TWICE(self._relay.finish, execution_id)
        elif completion.has_ended:
            ASK_TWICE(self._relay.tell_parent, execution_id)


def _bind(awaiting: Awaiting, payload: Any) -> Any:
    """Return the payload as every step asks for it that may take it."""
    for declarations in awaiting.takers.values():
        if declarations:
            payload = bind_payload(read_declarations(declarations), payload)
    return payload


def _encode(payload: Any) -> str:
    try:
        return encode_json(
            payload, place="payload", remedy="send where it lies instead"
        )
    except ResultError as error:
        fault = Fault("payload", str(error), rule=Rule.WRONG_VALUE)
        raise ParameterError((fault,)) from error


def _refuse(
    answer: SendAnswer,
    awaiting: Awaiting,
    execution_id: str,
    name: str,
    key: str | None,
) -> None:
    match answer.outcome:
        case Sent.SENT | Sent.REPEATED:
            return
        case Sent.UNKNOWN:
            raise not_found(execution_id)
        case Sent.OVER:
            raise InvalidExecutionStateError(
                f"execution {execution_id} takes no signal: it is {answer.detail}"
            )
        case Sent.CONFLICT:
            raise SignalConflictError(
                f"the key {key!r} belongs to another signal of execution"
                f" {execution_id}, {answer.detail!r}; a key stands for one signal"
            )
        case Sent.UNAWAITED:
            raise SignalNotAwaitedError(
                f"no step of plan {awaiting.plan} waits for signal {name!r};"
                f" {_list_names(awaiting)}"
            )


def _list_names(awaiting: Awaiting) -> str:
    if is_terminal(awaiting.status):
        return f"the execution is {awaiting.status}"
    if not awaiting.written:
        return "none of its steps waits for any"
    named = ", ".join(dict.fromkeys(awaiting.written[:_MOST_NAMED]))
    more = len(awaiting.written) - _MOST_NAMED
    return f"there are {named}" + (f" and {more} more" if more > 0 else "")
