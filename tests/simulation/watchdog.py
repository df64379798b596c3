"""Judges every transaction as it happens, by how the rows stood before it.

It keeps count of what was granted, by whom, and of what owners were told. It never
repairs anything: what must not be ends the run.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from execution.holds import HoldKind
from execution.states import TERMINAL_EXECUTION_STATUSES
from tests.simulation.misfortune import Misfortune
from tests.simulation.scheduler import Scheduler
from tests.simulation.store import FENCED, Call, Store

_ENDS = frozenset({"recorded", "ended"})
"""Outcomes of calls that may end the last step of an execution, and so itself."""
_LANDED = frozenset(
    {
        "recorded",
        "returned",
        "ended",
        "retrying",
        "waiting",
        "expanded",
        "begun",
        "saved",
        "asked",
    }
)
_MAY_END = frozenset({"await_signal", "send_signal", "operate_execution"})
"""Calls that may end an execution, too, and are answered the same when repeated."""
_RIDES = {"complete_step": (0, 9, 10), "repeat_step": (0, 4, 5)}
"""Calls that may claim another step, and where they name execution, epoch and token."""
_MOVES = frozenset(
    {
        "pause_execution",
        "resume_execution",
        "cancel_execution",
        "expire_execution",
        "finish_execution",
        "finish_stopped",
        "supersede_execution",
    }
)
_CROWDED = """
    SELECT e.concurrency_key FROM {schema}.executions e
      JOIN {schema}.plans p ON p.id = e.plan_id
     WHERE e.admitted_at IS NOT NULL AND e.ended_at IS NULL
     GROUP BY e.concurrency_key, p.concurrency_limit
    HAVING count(*) > p.concurrency_limit
"""
_PLACE = """
    SELECT s.queue, s.section, p.name AS plan FROM {schema}.execution_steps s
      JOIN {schema}.executions e ON e.id = s.execution_id
      JOIN {schema}.plans p ON p.id = e.plan_id
     WHERE s.execution_id = %s::uuid AND s."position" = %s
"""
_DEAD = "SELECT id::text FROM {schema}.workers WHERE end_reason = 'lost'"


class Census(Protocol):
    """What the watchdog asks about processes."""

    def is_healthy_worker(self, worker_id: str) -> bool:
        """Say whether this is a worker that lives and was never stopped."""

    def is_healthy_holder(self, token: str) -> bool:
        """Say whether a child that lives, in a healthy worker, shows this token."""


def _describe_claim(row: dict[str, Any]) -> str:
    detail = row["detail"] or ""
    if row["outcome"] == "claimed":
        return "claims granted"
    return f"claims not granted: {detail if 'epoch' in detail else row['outcome']}"


_TALLIES: dict[str, Callable[[dict[str, Any]], str | None]] = {
    "claim_step": _describe_claim,
    "complete_step": lambda row: f"completions {row['outcome']}",
    "expand_step": lambda row: f"lists {row['outcome']}",
    "repeat_step": lambda row: f"iterations {row['outcome']}",
    "begin_child": lambda row: f"plans within {row['outcome']}",
    "move_child": lambda row: f"plans within made to {row['act']}",
    "end_child": lambda row: f"parents told: {row['outcome']}",
    "await_signal": lambda row: f"waits for signals {row['outcome']}",
    "send_signal": lambda row: f"signals {row['outcome']}",
    "operate_execution": lambda row: f"acts {row['outcome']}",
    "yield_step": lambda row: f"yields {row['outcome']}",
    "drain_step": lambda row: f"drained steps {row['outcome']}",
    "reuse_result": lambda row: f"results {row['outcome']}",
    "retry_step": lambda row: f"retries {row['outcome']}",
    "resend_step": lambda row: "steps sent again" if row["landed"] else None,
    "send_steps": lambda row: "executions sent late" if row["windows"] else None,
    "wake_steps": lambda row: "executions woken" if row["woken"] else None,
    "unpark_steps": lambda row: "executions unparked" if row["woken"] else None,
    "expire_execution": lambda row: "executions expired" if row["landed"] else None,
    "expire_step": lambda row: f"steps expired: {row['outcome']}",
    "submit_execution": lambda row: f"submits {row['outcome']}",
    "admit_next": lambda row: "executions admitted" if row["execution_id"] else None,
    "supersede_execution": lambda row: (
        "executions superseded" if row["landed"] else None
    ),
    "pause_execution": lambda row: "pauses" if row["landed"] else None,
    "resume_execution": lambda row: "resumes" if row["landed"] else None,
    "cancel_execution": lambda row: "cancels" if row["landed"] else None,
}
"""What is counted of an answer."""


@dataclass
class Watchdog:
    """What was granted and told so far in one seed."""

    scheduler: Scheduler
    misfortune: Misfortune
    store: Store
    census: Census
    attempts: dict[tuple[str, int], set[int]] = field(
        default_factory=lambda: defaultdict(set)
    )
    granted: set[tuple[str, int, str]] = field(default_factory=set)
    parked: set[tuple[Any, ...]] = field(default_factory=set)
    timed_out: set[tuple[Any, ...]] = field(default_factory=set)
    created: set[str] = field(default_factory=set)
    ended: dict[str, str] = field(default_factory=dict)
    paused: set[str] = field(default_factory=set)
    stands_still: set[str] = field(default_factory=set)
    held: set[tuple[HoldKind, str]] = field(default_factory=set)
    parents: dict[str, str] = field(default_factory=dict)
    dead_workers: set[str] = field(default_factory=set)

    def saw(self, call: Call, row: dict[str, Any]) -> None:
        """Judge a transaction by its answer, from which what was before is taken."""
        before = {n: row.pop(n) for n in tuple(row) if n.startswith("before_")}
        if call.function in FENCED:
            self._check_fence(call, row, before)
        self._check_start(call, row, before)
        self._tally(call, row)
        self._note_outcome(call, row)
        match call.function:
            case "retry_step":
                self._note_retry(call, row)
            case "take_step":
                self._check_taking(call, row)
            case "sweep" if row["dead_workers"]:
                self._check_dead_workers()
            case "submit_execution" | "admit_next":
                self._check_beginning(call, row)
            case _ if row.get("landed") and call.function in _MOVES:
                self._note_move(call, row)

    def check_effect(self, execution_id: str, position: int, token: str) -> None:
        """Refuse an action that is called without a claim."""
        if (execution_id, position, token) not in self.granted:
            self.scheduler.fail(f"step {position} runs without a claim")

    def _check_start(
        self, call: Call, row: dict[str, Any], before: dict[str, Any]
    ) -> None:
        if call.function == "claim_step":
            self._check_claim(call, row, before)
        elif call.function in _RIDES and row["next"]:
            self._check_ride(call, row, before)
        elif call.function == "begin_child" and row["outcome"] == "begun":
            child_id = str(call.arguments[4])
            self.created.add(child_id)
            self.parents[child_id] = str(call.arguments[0])

    def _tally(self, call: Call, row: dict[str, Any]) -> None:
        tally = _TALLIES.get(call.function)
        what = tally(row) if tally else None
        if what is not None:
            self._count(what)

    def _count(self, what: str) -> None:
        self.misfortune.count(what)

    def _check_fence(
        self, call: Call, row: dict[str, Any], before: dict[str, Any]
    ) -> None:
        token = call.arguments[2]
        holds = before["before_status"] == "running" and before["before_token"] == token
        landed = row.get("landed") is True or row.get("outcome") in _LANDED
        if row.get("outcome") == "waiting" and call.arguments[:3] in self.timed_out:
            # who asks for another attempt too late is told that a reconciler was faster
            landed = False
        if landed and not holds and call.arguments[:4] not in self.parked:
            self.scheduler.fail(
                f"{call.function} landed under a token that does not hold the step,"
                f" which was {before['before_status']}"
            )
        if not landed and not holds and call.function != "take_step":
            self._count(f"late writes refused: {call.function}")

    def _must_stand_still(self, execution_id: str) -> bool:
        """Say whether it, or one that it lies within, was paused or cancelled."""
        above: str | None = execution_id
        while above is not None and above not in self.stands_still:
            above = self.parents.get(above)
        return above is not None

    def _is_held(self, execution_id: str, position: int) -> bool:
        """Say whether the plan of a step, or its queue, was paused and is still."""
        if not self.held:
            return False
        (place,) = self.store.execute(_PLACE, (execution_id, position))
        is_later = place["section"] != "steps"
        return (HoldKind.QUEUE, place["queue"]) in self.held or (
            not is_later and (HoldKind.PLAN, place["plan"]) in self.held
        )

    def _check_claim(
        self, call: Call, row: dict[str, Any], before: dict[str, Any]
    ) -> None:
        execution_id, _, epoch, token = call.arguments[:4]
        if row["outcome"] != "claimed":
            return
        key = (execution_id, row["claim"]["position"], token)
        if before["before_status"] == "running" and before["before_token"] == token:
            self._count("claims answered again")
            if key not in self.granted:
                self.scheduler.fail("a claim was answered again and never granted")
            return
        self.granted.add(key)
        self.attempts[key[:2]].add(row["claim"]["attempt"])
        open_needs = self.store.count_open_needs(execution_id, before["before_needs"])
        is_later = before["before_section"] != "steps"
        faults = {
            "of another epoch": before["before_epoch"] != epoch,
            "of a step that was not ready": before["before_status"] != "ready",
            "before its needs were settled": open_needs > 0,
            f"while the execution was {before['before_execution']}": before[
                "before_execution"
            ]
            not in (("ending",) if is_later else ("pending", "running")),
            "after pause or cancel had returned": not is_later
            and self._must_stand_still(execution_id),
            "of what is paused": self._is_held(*key[:2]),
        }
        for fault, is_so in faults.items():
            if is_so:
                self.scheduler.fail(f"a claim was granted {fault}")

    def _check_ride(
        self, call: Call, row: dict[str, Any], before: dict[str, Any]
    ) -> None:
        places = _RIDES[call.function]
        execution_id, epoch, token = (call.arguments[n] for n in places)
        key = (execution_id, row["next"]["position"], token)
        if row["outcome"] == "repeated":
            self._count("rides answered again")
            if key not in self.granted:
                self.scheduler.fail("a ride was answered again and never granted")
            return
        self._count("rides")
        is_later = before["before_section"] != "steps"
        self.granted.add(key)
        self.attempts[key[:2]].add(row["next"]["attempt"])
        faults = {
            "of another epoch": before["before_epoch"] != epoch,
            "before its needs were settled": self.store.count_needs(*key[:2]) > 0,
            f"while the execution was {before['before_execution']}": before[
                "before_execution"
            ]
            != ("ending" if is_later else "running"),
            "after pause or cancel had returned": not is_later
            and self._must_stand_still(execution_id),
            "of what is paused": self._is_held(*key[:2]),
        }
        for fault, is_so in faults.items():
            if is_so:
                self.scheduler.fail(f"a worker rode on {fault}")

    def _note_retry(self, call: Call, row: dict[str, Any]) -> None:
        if row["outcome"] == "waiting":
            # the same call again answers the same, though the token is gone by then
            self.parked.add(call.arguments[:4])
        elif row["outcome"] == "retrying":
            key = (call.arguments[0], call.arguments[1])
            self.attempts[key].add(row["attempt"])

    def _check_taking(self, call: Call, row: dict[str, Any]) -> None:
        if row["outcome"] == "nothing":
            return
        cause = call.arguments[3]
        if cause == "timeout":
            self.timed_out.add(call.arguments[:3])
        self._count(f"steps taken back: {cause}, {row['outcome']}")
        if cause == "lost" and self.census.is_healthy_holder(call.arguments[2]):
            self.scheduler.fail("a step was taken from a child that lives and runs it")

    def _check_dead_workers(self) -> None:
        dead = {row["id"] for row in self.store.execute(_DEAD)}
        for worker_id in sorted(dead - self.dead_workers):
            self._count("workers declared dead")
            if self.census.is_healthy_worker(worker_id):
                self.scheduler.fail(f"worker {worker_id} lives and was declared dead")
        self.dead_workers = dead

    def _check_beginning(self, call: Call, row: dict[str, Any]) -> None:
        for crowded in self.store.execute(_CROWDED):
            self.scheduler.fail(f"more run than may: {crowded}")
        if call.function == "admit_next" or row["outcome"] == "refused":
            return
        execution_id = str(row["execution_id"])
        self.created.add(execution_id)
        if execution_id != call.arguments[0]:
            self.scheduler.fail("a submit was answered with another id")

    def _note_move(self, call: Call, row: dict[str, Any]) -> None:
        execution_id = str(call.arguments[0])
        if call.function == "pause_execution":
            self.paused.add(execution_id)
        else:
            self.paused.discard(execution_id)
        if call.function in ("finish_execution", "finish_stopped"):
            self._note_end(execution_id, row["status"])

    def _note_outcome(self, call: Call, row: dict[str, Any]) -> None:
        has_ended = row.get("status") in TERMINAL_EXECUTION_STATUSES
        if call.function in _MAY_END:
            self._note_act(call, row, has_ended=has_ended)
        elif row.get("outcome") in _ENDS and has_ended:
            self._note_end(row.get("parent") or call.arguments[0], row["status"])

    def _note_act(self, call: Call, row: dict[str, Any], *, has_ended: bool) -> None:
        execution_id = str(call.arguments[0])
        if call.function == "operate_execution" and row["outcome"] == "done":
            self._count(f"acts of operators: {call.arguments[2]}")
            if self.ended.pop(execution_id, None) is not None:
                self._count("executions reopened")
                self.stands_still.discard(execution_id)
        if has_ended and execution_id not in self.ended and row["outcome"] != "refused":
            self._note_end(execution_id, row["status"])

    def _note_end(self, execution_id: str, status: str) -> None:
        self._count(f"executions {status}")
        self.paused.discard(execution_id)
        if execution_id in self.ended:
            self.scheduler.fail("an execution ended twice")
        self.ended[execution_id] = status
