"""What must be true of every execution when a seed is over.

Read from the tables at once, for all executions of the seed; what happened on the way
was judged by the watchdog.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from execution.recovery import MOST_RECOVERIES
from execution.results import Event
from execution.states import TERMINAL_EXECUTION_STATUSES, StepStatus
from tests.simulation.operators import FORCED
from tests.simulation.store import Store
from tests.simulation.watchdog import Watchdog
from tests.timeline import check_successes, replay

_EXECUTIONS = """
    SELECT id::text, status, reason, open_steps, next_seq FROM {schema}.executions
"""
_STEPS = """
    SELECT s.execution_id::text AS id, s."position", s.name, s.status, s.attempt,
           s.failures, s.losses, s.lease_token::text AS token, s.result, s.input,
           s.needs, s.item_of, s.first_item, s.item_count, s.fallback, s.reason,
           s.restores, s.cached_from, p.restore_times,
           s.iterations, p.repeat IS NOT NULL AS repeats,
           (p.repeat ->> 'times')::int AS times,
           starts_with(s.action, 'strategy:') AS asks,
           s.action = 'plans.sleep' AS sleeps, s.action = 'plans.wait_for' AS awaits,
           p.max_attempts, p.max_lost, p.max_parallel, p.subplan, c.result AS of_child,
           c.status AS child_status
      FROM {schema}.execution_steps s
      JOIN {schema}.executions e ON e.id = s.execution_id
      JOIN {schema}.plan_steps p
        ON p.plan_id = e.plan_id AND p."position" = coalesce(s.item_of, s."position")
      LEFT JOIN LATERAL (
          -- by the timeline: the clock may have been set back between two of them
          SELECT x.* FROM {schema}.execution_events v
            JOIN {schema}.executions x ON x.id = (v.data ->> 'child')::uuid
           WHERE v.execution_id = e.id AND v."position" = s."position"
             AND v.type = 'step.waiting'
           ORDER BY v.seq DESC LIMIT 1) c ON true
     ORDER BY s.execution_id, s."position"
"""
_ITERATION = re.compile(r"(.+)\[([0-9]+)\](~[0-9]+)?")
_ENDS_OF_STEPS = {
    f"step.{status}" for status in ("completed", "failed", "skipped", "cancelled")
} | {"step.timed_out"}
_SECTIONS = """
    SELECT e.id::text AS id, e.section, e.reason, e.reason = ANY (p.rollback) AS undoes,
           s."position", s.section AS of_section, s.run_on, s.undoes AS undone,
           e.concurrency_key IS NOT NULL AND e.admitted_at IS NULL AS never_began
      FROM {schema}.executions e
      JOIN {schema}.plans p ON p.id = e.plan_id
      LEFT JOIN {schema}.plan_steps s ON s.plan_id = p.id AND s.section <> 'steps'
     ORDER BY e.id, s."position"
"""
_EVENTS = """
    SELECT execution_id::text AS id, seq, type, "position", data, at
      FROM {schema}.execution_events ORDER BY execution_id, seq
"""
_SIGNALS = """
    SELECT execution_id::text AS id, payload, taken_by, seq
      FROM {schema}.execution_signals ORDER BY execution_id, sent_at, id
"""
_LINES_TOLD_TWICE = """
    SELECT execution_id::text AS id, "position", attempt, number
      FROM {schema}.execution_logs GROUP BY 1, 2, 3, 4 HAVING count(*) > 1
"""


def find_broken_promise(store: Store, watchdog: Watchdog) -> str | None:
    """Return the first promise that the tables break, or None."""
    steps = _group(store.execute(_STEPS))
    events = _group(store.execute(_EVENTS))
    sections = _group(store.execute(_SECTIONS))
    signals = _group(store.execute(_SIGNALS))
    executions = {row["id"]: row for row in store.execute(_EXECUTIONS)}
    results = {
        (row["id"], row["name"]): row["result"]
        for rows in steps.values()
        for row in rows
        if row["cached_from"] is None
        # what a restore has taken back may be used by others still
        and not any(other["restores"] for other in rows)
    }
    if missing := watchdog.created - set(executions):
        return f"executions are gone: {sorted(missing)}"
    if twice := store.execute(_LINES_TOLD_TWICE):
        return f"lines stand twice: {twice}"
    try:
        for execution_id, execution in executions.items():
            _check_execution(execution, watchdog)
            _check_timeline(execution, steps[execution_id], events[execution_id])
            for event in events[execution_id]:
                if event["type"] == "recovery.initiated":
                    watchdog.misfortune.count("restores")
            _check_items(steps[execution_id], events[execution_id])
            _check_sections(
                sections[execution_id], steps[execution_id], events[execution_id]
            )
            for step in steps[execution_id]:
                _check_step(step, steps[execution_id], watchdog, results)
            _check_signals(
                signals[execution_id], steps[execution_id], events[execution_id]
            )
    except AssertionError as error:
        return str(error) or repr(error)
    return None


def _group(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    grouped: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        grouped[row["id"]].append(row)
    return grouped


def _check_execution(row: Mapping[str, Any], watchdog: Watchdog) -> None:
    assert row["status"] in TERMINAL_EXECUTION_STATUSES, f"stuck as {row['status']}"
    assert row["open_steps"] == 0, f"{row['open_steps']} steps are open at the end"
    assert watchdog.ended.get(row["id"]) == row["status"], "a terminal state changed"


def _check_timeline(
    execution: Mapping[str, Any],
    steps: list[Mapping[str, Any]],
    rows: list[Mapping[str, Any]],
) -> None:
    names = {step["position"]: step["name"] for step in steps}
    events = tuple(
        Event(
            row["id"],
            row["seq"],
            row["type"],
            names.get(row["position"]),
            row["data"],
            row["at"],
        )
        for row in rows
    )
    numbers = [event.seq for event in events]
    assert numbers == list(range(1, execution["next_seq"])), "the timeline has a gap"
    replayed, status = replay(events)
    for step in steps:
        told = replayed.get(step["name"], StepStatus.PENDING)
        assert told == step["status"], f"{step['name']}: {told}, not {step['status']}"
    assert status == execution["status"], f"replay tells {status}"
    last = events[-1].type
    assert last == f"execution.{execution['status']}", f"{last} is the last event"
    check_successes(events)


def _check_signals(
    signals: list[Mapping[str, Any]],
    steps: list[Mapping[str, Any]],
    events: list[Mapping[str, Any]],
) -> None:
    """Assert that each was taken once at most, and is what its step came to."""
    taken = [e["data"]["seq"] for e in events if e["type"] == "signal.taken"]
    assert len(set(taken)) == len(taken), "a signal was taken twice"
    assert set(taken) == {s["seq"] for s in signals if s["taken_by"] is not None}
    for step in steps:
        if not step["awaits"] or _is_stood_in_for(step, steps):
            continue
        if step["status"] == StepStatus.COMPLETED:
            mine = [s["payload"] for s in signals if s["taken_by"] == step["position"]]
            known = [*mine, step["input"].get("default")]
            assert step["result"] in known, f"{step['name']} has heard something else"


def _check_items(
    steps: list[Mapping[str, Any]], events: list[Mapping[str, Any]]
) -> None:
    """Assert that no more were under way than the plan lets, and that all count."""
    owners = {step["position"]: step["item_of"] for step in steps}
    by_position = {step["position"]: step for step in steps}
    under_way: dict[int, set[int]] = defaultdict(set)
    for event in events:
        owner = owners.get(event["position"])
        if owner is None:
            continue
        if event["type"] == "step.ready":
            under_way[owner].add(event["position"])
        elif event["type"] in _ENDS_OF_STEPS:
            under_way[owner].discard(event["position"])
        most = by_position[owner]["max_parallel"] or len(steps)
        if by_position[owner]["repeats"]:
            most = 1
        assert len(under_way[owner]) <= most, f"more than {most} items at a time"
    for step in steps:
        _check_expanded(step, steps)


def _check_expanded(step: Mapping[str, Any], steps: list[Mapping[str, Any]]) -> None:
    """Assert of a step that has completed that its items have, too."""
    if _is_stood_in_for(step, steps):
        return
    items = [s for s in steps if _is_item_now(s, step)]
    if step["status"] == StepStatus.COMPLETED and step["item_count"] is not None:
        assert len(items) == step["item_count"], "items are missing"
        ends = {item["status"] for item in items}
        assert ends <= {StepStatus.COMPLETED, StepStatus.SKIPPED}, f"{ends}"


def _is_stood_in_for(
    step: Mapping[str, Any], steps: Iterable[Mapping[str, Any]]
) -> bool:
    """Whether a step is what an operator, a fallback or a strategy said it came to."""
    return step["reason"] == "forced" or any(
        s["position"] == step["fallback"] and s["status"] == StepStatus.COMPLETED
        for s in steps
    )


def _is_item_now(step: Mapping[str, Any], owner: Mapping[str, Any]) -> bool:
    """Whether a step is an item of another, and not one from before a restore."""
    if owner["item_count"] is None or step["item_of"] != owner["position"]:
        return False
    return bool(0 <= step["position"] - owner["first_item"] < owner["item_count"])


def _check_sections(
    planned: list[Mapping[str, Any]],
    steps: list[Mapping[str, Any]],
    events: list[Mapping[str, Any]],
) -> None:
    """Assert that just those were added that the end asked for, in their order.

    The last end: what one had added before a retry was set aside.
    """
    retried = max(
        (e["seq"] for e in events if e["type"] == "execution.retried"), default=0
    )
    statuses = {step["position"]: step["status"] for step in steps}
    times = {e["position"]: e["seq"] for e in events if e["type"] == "step.completed"}
    completed = [
        position
        for position in sorted(times, key=lambda position: times[position])
        if statuses[position] == StepStatus.COMPLETED
    ]
    undoing = {
        row["undone"]: row["position"]
        for row in planned
        if row["of_section"] == "rollback" and row["undoes"]
    }
    rollback = [undoing[p] for p in reversed(completed) if p in undoing]
    end = [
        row["position"]
        for row in planned
        if row["of_section"] == "end"
        and not row["never_began"]
        and (row["run_on"] == "always" or row["reason"] != "result")
    ]
    later = {row["position"] for row in planned}
    added = [
        e["position"]
        for e in events
        if e["type"] == "step.added" and e["position"] in later and e["seq"] > retried
    ]
    assert added == rollback + end, f"added {added}, not {rollback + end}"
    begun = [
        e["position"]
        for e in events
        if e["type"] == "step.started" and e["seq"] > retried
    ]
    order = list(dict.fromkeys(position for position in begun if position in added))
    # one that waited beyond its deadline has never begun
    assert order == [p for p in added if p in order], f"begun in the order {order}"
    assert all(statuses[p] != StepStatus.PENDING for p in added), "some never ended"
    assert planned[0]["section"] == "over", f"stuck in {planned[0]['section']}"


def _most_restores(step: Mapping[str, Any]) -> int:
    """Return how often a step may let its execution go back."""
    return int(step["restore_times"] or (MOST_RECOVERIES if step["asks"] else 0))


def _check_step(
    step: Mapping[str, Any],
    all_steps: list[Mapping[str, Any]],
    watchdog: Watchdog,
    results: Mapping[tuple[str, str], object],
) -> None:
    name = step["name"]
    begun = watchdog.attempts[step["id"], step["position"]]
    numbers = list(range(1, step["attempt"] + 1))
    assert sorted(begun) == numbers, f"{name}: {begun} begun of {step['attempt']}"
    assert step["failures"] <= step["max_attempts"], f"{name} failed too often"
    assert step["restores"] <= _most_restores(step), f"{name} went back too often"
    assert step["losses"] <= step["max_lost"], f"{name} was lost too often"
    if step["status"] != StepStatus.COMPLETED or step["awaits"]:
        return
    if step["reason"] == "forced":
        assert step["result"] == FORCED, f"{name} has another result than was forced"
        return
    if step["item_count"] is not None and not step["repeats"]:
        assert step["result"] is None, f"{name} has a result of its own"
        return
    fallback = next((s for s in all_steps if s["position"] == step["fallback"]), None)
    if fallback is not None and fallback["status"] == StepStatus.COMPLETED:
        assert step["result"] == fallback["result"], f"{name} took another result"
        return
    assert fallback is None or (
        fallback["reason"] == "unused" or fallback["status"] == StepStatus.CANCELLED
    ), f"{name} needed none"
    if step["repeats"] and step["item_of"] is None:
        _check_loop(step, all_steps)
        return
    if step["subplan"] is not None:
        assert step["child_status"] == "completed", f"{name} is {step['child_status']}"
        assert step["result"] == step["of_child"], f"{name} has not its plan's result"
        return
    if step["sleeps"]:
        # recorded when it began to wait: one that has it was not ended before that
        assert step["input"] == {"for": "20s"}, f"{name} ended without its sleep"
        assert step["result"] is None, f"{name} has a result"
        return
    _check_called(step, all_steps, results)


def _check_called(
    step: Mapping[str, Any],
    all_steps: list[Mapping[str, Any]],
    results: Mapping[tuple[str, str], object],
) -> None:
    """Assert that what a step came to is what its own attempt has returned."""
    name = step["name"]
    expected: object = {"attempt": step["attempt"], "token": step["token"]}
    if (source := step["cached_from"]) is not None:
        assert source["attempt"] == step["attempt"], f"{name} was called after all"
        key = (source["execution_id"], source["step"])
        expected = results.get(key, step["result"])
    assert step["result"] == expected, f"{name} has the result of another attempt"
    others = {other["name"]: other for other in all_steps}
    if step["repeats"]:
        _check_iteration(step, others)
    if "~" in name:
        # the execution went back to before it, and what it read may be another by now
        return
    for needed, read in step["input"].get("needed", {}).items():
        assert read == others[needed]["result"], f"{name} read another result"


def _check_loop(
    step: Mapping[str, Any], all_steps: Iterable[Mapping[str, Any]]
) -> None:
    """Assert of a loop that has completed that it is what its last iteration was."""
    last = next(s for s in all_steps if s["position"] == step["first_item"])
    assert last["status"] == StepStatus.COMPLETED, f"{last['name']} is {last['status']}"
    assert step["result"] == last["result"], f"{step['name']} has another result"
    assert 0 < step["iterations"] <= step["times"], f"{step['name']} ran too often"


def _check_iteration(
    step: Mapping[str, Any], others: Mapping[str, Mapping[str, Any]]
) -> None:
    found = _ITERATION.fullmatch(step["name"])
    assert found is not None, f"{step['name']} is no iteration"
    before = others.get(f"{found[1]}[{int(found[2]) - 1}]{found[3] or ''}")
    expected = before and before["result"]
    assert step["input"]["before"] == expected, f"{step['name']} read another one"
