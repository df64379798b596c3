"""What differs between two plans: what they do, not how they are written."""

from typing import Any

import pytest

from execution.comparison import Change, ChangeKind, compare_plans
from execution.expressions import spell_template_text
from execution.plan import Plan, Step

BASE: dict[str, Any] = {
    "format": 1,
    "name": "rates",
    "version": "1",
    "parameters": {"currency": {"type": "string", "default": "EUR"}},
    "defaults": {"timeout": "30s"},
    "profiles": {"slow": {"queue": "slow"}, "idle": {"priority": 1}},
    "deadline": "2h",
    "steps": [
        {
            "id": "fetch",
            "action": "rates.fetch",
            "needs": [],
            "profile": "slow",
            "with": {"currency": "${parameters.currency}", "limits": {"most": 1}},
            "retry": {"attempts": 3},
        },
        {"id": "check", "action": "rates.check", "needs": ["fetch"]},
        {"id": "store", "action": "rates.store", "needs": ["fetch", "check"]},
    ],
    "result": "${steps.store.result}",
}


def vary(**fields: Any) -> Plan:
    """Return the plan with other fields; None leaves one out."""
    varied = {k: v for k, v in {**BASE, **fields}.items() if v is not None}
    return Plan.from_mapping(varied)


def vary_step(index: int, **fields: Any) -> Plan:
    steps = [dict(step) for step in BASE["steps"]]
    steps[index] |= fields
    steps[index] = {k: v for k, v in steps[index].items() if v is not None}
    return vary(steps=steps)


def list_changes(after: Plan) -> list[tuple[str, str, object, object]]:
    changes = compare_plans(vary(), after).changes
    return [(str(c.kind), c.place, c.before, c.after) for c in changes]


def test_a_plan_does_the_same_as_itself() -> None:
    comparison = compare_plans(vary(), vary())

    assert comparison.is_same
    assert comparison.before == comparison.after
    assert comparison.before.digest == vary().digest


@pytest.mark.parametrize(
    "after",
    [
        vary_step(0, profile=None, queue="slow"),
        vary(
            defaults=None,
            steps=[{**step, "timeout": "30s"} for step in BASE["steps"]],
        ),
        vary(profiles={"slow": {"queue": "slow"}}),
        vary(steps=[BASE["steps"][i] for i in (1, 0, 2)]),
        vary_step(2, needs=["check", "fetch"]),
        vary_step(1, priority=0, on_failure="abort"),
        vary_step(1, uses=[]),
        vary(deadline="120m"),
    ],
    ids=[
        *("profile written out", "defaults written out", "unused profile dropped"),
        *("steps in another order", "needs in another order", "defaults said"),
        "nothing used",
        "duration spelt otherwise",
    ],
)
def test_another_spelling_does_the_same(after: Plan) -> None:
    comparison = compare_plans(vary(), after)

    assert comparison.changes == ()
    assert comparison.after.digest != comparison.before.digest


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (vary(version="2"), ("changed", "version", "1", "2")),
        (vary(name="rats"), ("changed", "name", "rates", "rats")),
        (vary(tags=["a"]), ("added", "tags", None, ["a"])),
        (vary(deadline=None), ("removed", "deadline", "2h", None)),
        (
            vary(result="${steps.check.result}"),
            ("changed", "result", "${steps.store.result}", "${steps.check.result}"),
        ),
        (
            vary(parameters={"currency": {"type": "string", "default": "USD"}}),
            ("changed", "parameters.currency.default", "EUR", "USD"),
        ),
        (
            vary_step(0, timeout="1m"),
            ("changed", "steps.fetch.timeout", "30s", "1m"),
        ),
        (
            vary_step(0, retry={"attempts": 3, "initial": "2s"}),
            ("changed", "steps.fetch.retry.initial", "1s", "2s"),
        ),
        (
            vary_step(0, retry={"attempts": 4}),
            ("changed", "steps.fetch.retry.attempts", 3, 4),
        ),
        (
            vary_step(0, retry={"attempts": 3, "not_on": ["OSError"]}),
            ("changed", "steps.fetch.retry.not_on", [], ["OSError"]),
        ),
        (
            vary_step(1, description="Looks."),
            ("added", "steps.check.description", None, "Looks."),
        ),
        (
            vary_step(1, action="rates.prove"),
            ("changed", "steps.check.action", "rates.check", "rates.prove"),
        ),
        (
            vary_step(1, on_failure="skip"),
            ("changed", "steps.check.on_failure", "abort", "skip"),
        ),
        (
            vary_step(1, **{"with": {"x": 1}}),
            ("added", "steps.check.with.x", None, 1),
        ),
        (
            vary_step(2, needs=["check"]),
            ("changed", "steps.store.needs", ["check", "fetch"], ["check"]),
        ),
        (vary_step(1, queue="fast"), ("added", "steps.check.queue", None, "fast")),
        (
            vary_step(0, profile=None),
            ("removed", "steps.fetch.queue", "slow", None),
        ),
    ],
    ids=lambda value: value[1] if isinstance(value, tuple) else "",
)
def test_a_change_is_told_by_its_place(
    after: Plan, expected: tuple[str, str, object, object]
) -> None:
    assert list_changes(after) == [expected]


def test_what_undoes_a_step_is_compared_as_a_part_of_it() -> None:
    refund, cancel = {"action": "m.refund"}, {"action": "m.cancel"}
    one, other = (vary_step(1, undo=undo) for undo in (refund, cancel))

    (added,) = compare_plans(vary(), one).changes
    (changed,) = compare_plans(one, other).changes

    assert (added.kind, added.place) == (ChangeKind.ADDED, "steps.check.undo")
    assert changed.place == "steps.check.undo.action"


@pytest.mark.parametrize(
    ("after", "place"),
    [
        (vary(rollback="on_failure"), "rollback"),
        (vary(failing="cancel_running"), "failing"),
        (vary(concurrency={"key": "k"}), "concurrency"),
    ],
)
def test_what_follows_an_end_is_compared(after: Plan, place: str) -> None:
    (change,) = compare_plans(vary(), after).changes

    assert (change.kind, change.place) == (ChangeKind.ADDED, place)
    assert compare_plans(vary(), vary(failing="finish_running")).is_same
    plain = vary(concurrency={"key": "k"})
    assert compare_plans(plain, vary(concurrency={"key": "k", "limit": 1})).is_same


def test_what_runs_for_each_item_is_compared() -> None:
    each = "steps.fetch.result"
    before = vary_step(1, for_each=each, tolerate="10%")
    after = vary_step(1, for_each="${steps.fetch.result}", tolerate=1, max_parallel=2)

    changes = compare_plans(before, after).changes

    assert [(c.place, c.before, c.after) for c in changes] == [
        ("steps.check.max_parallel", None, 2),
        ("steps.check.tolerate", "10%", 1),
    ]


def test_sleeps_are_compared_as_they_are_written() -> None:
    before = Plan("p", steps=[Step("a", sleep="1h")])
    after = Plan("p", steps=[Step("a", sleep_until="2026-12-01T08:00:00Z")])

    changes = compare_plans(before, after).changes

    assert compare_plans(before, Plan("p", steps=[Step("a", sleep="1h")])).is_same
    assert {(c.place, c.before, c.after) for c in changes} == {
        ("steps.a.sleep", "1h", None),
        ("steps.a.sleep_until", None, "2026-12-01T08:00:00Z"),
    }


def test_what_a_loop_repeats_is_compared() -> None:
    repeat = {"action": "a.turn", "with": {"x": "${last}"}, "until": "last.ok"}
    before = Plan("p", steps=[Step("a", repeat={**repeat, "times": 2})])
    same = {**repeat, "until": "${ last.ok }", "with": {"x": "${ last }"}, "times": 2}
    after = {**repeat, "with": {"x": "${index}"}, "times": 3, "wait": "1s"}

    changes = compare_plans(before, Plan("p", steps=[Step("a", repeat=after)])).changes

    assert compare_plans(before, Plan("p", steps=[Step("a", repeat=same)])).is_same
    assert {(c.place, c.before, c.after) for c in changes} == {
        ("steps.a.repeat.with.x", "${last}", "${index}"),
        ("steps.a.repeat.times", 2, 3),
        ("steps.a.repeat.wait", None, "1s"),
    }


def test_a_condition_is_compared_by_what_it_says() -> None:
    one = vary_step(1, when='steps.fetch.result=="completed"')
    same = vary_step(1, when='${ steps.fetch.result == "completed" }')
    other = vary_step(1, when='steps.fetch.result == "com pleted"')

    (change,) = compare_plans(one, other).changes

    assert compare_plans(one, same).is_same
    assert change.place == "steps.check.when"
    assert list_changes(one) == [
        ("added", "steps.check.when", None, 'steps.fetch.result=="completed"')
    ]


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("${1+parameters.n}", "${ 1 + parameters.n }", True),
        ("a ${parameters.n} b", "a ${ parameters.n } b", True),
        (
            ["$${x}", {"y": "${parameters.n}"}],
            ["$${x}", {"y": "${parameters.n }"}],
            True,
        ),
        ("a b", "a  b", False),
        ("parameters.n", "${parameters.n}", False),
        ("a ${parameters.n} b", "a ${parameters.n}  b", False),
        ("${'a b'}", "${'a  b'}", False),
        ("$${x}", "$${x }", False),
    ],
)
def test_expressions_in_inputs_and_result_are_compared_by_what_they_say(
    one: object, other: object, is_same: bool
) -> None:
    declared = {"parameters": {"n": {"type": "integer"}}}

    def plan(value: object) -> Plan:
        steps = [{**BASE["steps"][0], "with": {"x": value}}]
        return vary(**declared, steps=steps, result={"y": value})

    assert compare_plans(plan(one), plan(other)).is_same is is_same


def test_a_text_that_is_no_template_is_compared_as_it_is() -> None:
    odd = "${ not closed"

    assert spell_template_text(odd) != spell_template_text("${not closed")


def test_a_fallback_is_told_by_its_name() -> None:
    spare = {"id": "spare", "action": "rates.recall"}
    replaced = {**BASE["steps"][0], "on_failure": {"fallback": "spare"}}
    after = vary(steps=[replaced, *BASE["steps"][1:], spare])

    policy, added = compare_plans(vary(), after).changes

    assert (policy.place, policy.before, policy.after) == (
        *("steps.fetch.on_failure", "abort", {"fallback": "spare"}),
    )
    assert added.place == "steps.spare"
    assert isinstance(added.after, dict)
    assert "needs" not in added.after


def test_shares_are_compared_as_numbers() -> None:
    each = "steps.fetch.result"
    one, same, other = (
        vary_step(1, for_each=each, tolerate=share) for share in ("10%", "10.0%", "9%")
    )

    (change,) = compare_plans(one, other).changes

    assert compare_plans(one, same).is_same
    assert (change.place, change.before, change.after) == (
        *("steps.check.tolerate", "10%", "9%"),
    )


def test_a_sequence_that_becomes_a_graph_is_a_change() -> None:
    steps = [{"id": name, "action": "a.b"} for name in ("one", "two")]
    edges: list[list[str]] = [[], ["one"]]
    graph = [{**step, "needs": needs} for step, needs in zip(steps, edges, strict=True)]

    (change,) = compare_plans(
        vary(steps=steps, result=None), vary(steps=graph, result=None)
    ).changes

    assert (change.place, change.before, change.after) == (
        *("steps.two.runs_after_skips", True, False),
    )


def test_an_input_is_compared_part_by_part() -> None:
    after = vary_step(0, **{"with": {"limits": {"most": True, "least": [1]}}})

    assert list_changes(after) == [
        ("changed", "steps.fetch.with.limits.most", 1, True),
        ("added", "steps.fetch.with.limits.least", None, [1]),
        ("removed", "steps.fetch.with.currency", "${parameters.currency}", None),
    ]


def test_steps_are_added_and_removed_as_a_whole() -> None:
    steps = [*BASE["steps"][:2], {"id": "mail", "action": "m.send", "needs": ["check"]}]

    comparison = compare_plans(vary(), vary(steps=steps, result=None))

    result, mail, store = sorted(comparison.changes, key=lambda change: change.place)
    assert (result.kind, result.place) == (ChangeKind.REMOVED, "result")
    assert (mail.kind, mail.place, mail.before) == (
        *(ChangeKind.ADDED, "steps.mail", None),
    )
    assert isinstance(mail.after, dict)
    assert mail.after["action"] == "m.send"
    assert mail.after["needs"] == ["check"]
    assert (store.kind, store.place, store.after) == (
        *(ChangeKind.REMOVED, "steps.store", None),
    )


def test_a_changed_default_is_told_in_each_step_that_it_reaches() -> None:
    changes = compare_plans(vary(), vary(defaults={"timeout": "1m"})).changes

    assert changes == tuple(
        Change(ChangeKind.CHANGED, f"steps.{name}.timeout", "30s", "1m")
        for name in ("fetch", "check", "store")
    )
