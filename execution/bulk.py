"""Many executions of one plan at once.

Promises: everything is checked before anything is written; what is written is written
in chunks, each of them whole or not at all; what a chunk began is sent while the next
one is written. It must not know where the parameters come from.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from .dispatcher import ExecutionDispatcher
from .errors import ConcurrencyConflictError, Fault, ParameterError
from .identity import draw_execution_id
from .keys import KeyedExecutions
from .language.rules import Rule
from .patience import ASK_TWICE
from .plan import OnConflict, Plan
from .receipts import SubmittedChunk
from .repository import ExecutionRepository

_MOST_EXECUTIONS = 250
_MOST_STEPS = 5_000
_MOST_BYTES = 4 * 1024 * 1024
"""How much is one transaction: enough to share its costs, over within a second."""


@dataclass(frozen=True)
class Order:
    """What is to be begun: bound parameters, and a key for each or none at all."""

    plan: Plan
    parameters: Sequence[Mapping[str, Any]]
    keys: Sequence[str] | None
    tags: Sequence[str]
    priority: int
    queue: str
    at: datetime | None = None


def bind_all(
    plan: Plan,
    parameters: Iterable[Mapping[str, Any]],
    keys: Sequence[str] | None,
) -> list[dict[str, object]]:
    """Return the value of every parameter of `plan`, once for each mapping.

    Raises ParameterError with every fault of all mappings and of `keys`, each with the
    index of what it is in.
    """
    bound: list[dict[str, object]] = []
    faults: list[Fault] = []
    for index, values in enumerate(parameters):
        try:
            bound.append(_bind(plan, values))
        except ParameterError as error:
            bound.append({})
            faults.extend(_name_index(fault, index) for fault in error.faults)
    if not faults and keys is not None:
        faults.extend(_find_key_faults(keys, bound))
    if faults:
        raise ParameterError(tuple(faults))
    return bound


def submit_chunks(
    order: Order,
    repository: ExecutionRepository,
    dispatcher: ExecutionDispatcher,
    keyed: KeyedExecutions,
) -> tuple[str, ...]:
    """Begin the executions, and return their ids in order.

    Raises ConcurrencyConflictError for a plan that may reject some of them, before
    anything is begun; SubmissionConflictError for a key that was used otherwise,
    ExpressionError for parameters that make no key, and DatabaseError: the chunks
    before are kept then, the one that it is raised for is not (but for a
    DatabaseUnavailableError, which leaves that open).
    """
    _refuse_rejecting(order.plan)

    def send(chunk: SubmittedChunk) -> None:
        dispatcher.publish(chunk.windows)
        for key in chunk.held_keys:
            keyed.try_settle(key)

    ids: list[str] = []
    sending: Future[None] | None = None
    # one thread: PostgreSQL writes a chunk while the one before it is being sent
    with ThreadPoolExecutor(1, thread_name_prefix="plans-send") as sender:
        for place in _cut(order):
            chunk = _submit_chunk(order, place, repository)
            ids.extend(chunk.execution_ids)
            if sending is not None:
                sending.result()
            sending = sender.submit(send, chunk)
        if sending is not None:
            sending.result()
    return tuple(ids)


def _refuse_rejecting(plan: Plan) -> None:
    stated = plan.concurrency
    if stated is not None and stated.on_conflict is OnConflict.REJECT:
        raise ConcurrencyConflictError(
            f"plan {plan.name} has `on_conflict: reject`; submit its executions one by"
            " one, so that each can be refused"
        )


def _submit_chunk(
    order: Order, place: slice, repository: ExecutionRepository
) -> SubmittedChunk:
    return ASK_TWICE(
        repository.submit_chunk,
        order.plan,
        order.parameters[place],
        # drawn before, so that the same call can be made again; in the order of the
        # parameters, which is that of those who wait for one key
        execution_ids=sorted(draw_execution_id() for _ in order.parameters[place]),
        keys=order.keys and order.keys[place],
        queue=order.queue,
        tags=order.tags,
        priority=order.priority,
        at=order.at,
    )


def _bind(plan: Plan, values: object) -> dict[str, object]:
    if not isinstance(values, Mapping):
        kind = type(values).__name__
        message = f"must be a mapping of names and values, not {kind}"
        fault = Fault("parameters", message, rule=Rule.WRONG_TYPE)
        raise ParameterError((fault,))
    return plan.bind(values)


def _name_index(fault: Fault, index: int) -> Fault:
    inner = fault.place.removeprefix("parameters")
    return replace(fault, place=f"parameters[{index}]{inner}")


def _find_key_faults(
    keys: Sequence[object], parameters: Sequence[Mapping[str, object]]
) -> Iterator[Fault]:
    if len(keys) != len(parameters):
        message = f"are {len(keys)} for {len(parameters)} executions"
        yield Fault("keys", message, rule=Rule.WRONG_SUBMIT)
        return
    first: dict[str, int] = {}
    for index, key in enumerate(keys):
        if not isinstance(key, str) or "\0" in key:
            message = "must be text without NUL characters"
            yield Fault(f"keys[{index}]", message, rule=Rule.WRONG_SUBMIT)
            continue
        other = first.setdefault(key, index)
        if other != index and not _is_same(parameters[other], parameters[index]):
            message = f"is that of keys[{other}], whose parameters are others"
            yield Fault(f"keys[{index}]", message, rule=Rule.WRONG_SUBMIT)


def _is_same(one: object, other: object) -> bool:
    # Python calls 1, 1.0 and True equal
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _cut(order: Order) -> Iterator[slice]:
    """Yield the places of chunks that are not too much for one transaction."""
    most = max(1, min(_MOST_EXECUTIONS, _MOST_STEPS // len(order.plan.steps)))
    start, size = 0, 0
    for index, values in enumerate(order.parameters):
        size_of_one = len(json.dumps(values)) if values else 0
        if index > start and (
            index - start >= most or size + size_of_one > _MOST_BYTES
        ):
            yield slice(start, index)
            start, size = index, 0
        size += size_of_one
    if start < len(order.parameters):
        yield slice(start, len(order.parameters))
