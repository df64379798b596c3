"""Edges: who waits for whom, which cycles there are, and what a step may read."""

import time

import pytest

from execution.errors import PlanValidationError
from execution.plan import Plan


def plan_of(needs: dict[str, list[str] | None], **reads: str) -> Plan:
    steps: list[dict[str, object]] = []
    for name, wanted in needs.items():
        step: dict[str, object] = {"id": name, "action": "demo.a"}
        if wanted is not None:
            step["needs"] = wanted
        if name in reads:
            step["with"] = {"x": reads[name]}
        steps.append(step)
    return Plan.from_mapping({"format": 1, "name": "p", "steps": steps})


def faults_of(needs: dict[str, list[str] | None], **reads: str) -> dict[str, str]:
    with pytest.raises(PlanValidationError) as raised:
        plan_of(needs, **reads)
    return {fault.place: fault.message for fault in raised.value.faults}


def test_edges_go_both_ways_in_the_order_of_the_document() -> None:
    plan = plan_of({"d": ["c", "b"], "b": ["a"], "c": ["a"], "a": []})

    assert [step.needs for step in plan.steps] == [(1, 2), (3,), (3,), ()]
    assert [step.successors for step in plan.steps] == [(), (0,), (0,), (1, 2)]


def test_once_one_step_has_needs_all_must() -> None:
    faults = faults_of({"a": None, "b": ["a"], "c": None})

    assert list(faults) == ["steps[0].needs", "steps[2].needs"]
    assert "once one step has `needs`, all must" in faults["steps[0].needs"]


@pytest.mark.parametrize(
    ("needs", "place", "path"),
    [
        ({"a": ["b"], "b": ["a"]}, "steps[0].needs", "a → b → a"),
        (
            {"r": [], "a": ["r", "c"], "b": ["a"], "c": ["b"], "d": ["c"]},
            "steps[1].needs",
            "a → c → b → a",
        ),
        ({"x": ["b"], "a": ["b"], "b": ["a"]}, "steps[2].needs", "b → a → b"),
    ],
)
def test_cycle_is_named(
    needs: dict[str, list[str] | None], place: str, path: str
) -> None:
    faults = faults_of(needs)

    assert list(faults) == [place]
    assert f": {path};" in faults[place]


def test_each_cycle_is_named() -> None:
    faults = faults_of({"a": ["b"], "b": ["a"], "c": ["d"], "d": ["c"], "e": ["a"]})

    assert list(faults) == ["steps[0].needs", "steps[2].needs"]


@pytest.mark.usefixtures("untraced")
def test_long_cycle_is_cut_short() -> None:
    needs: dict[str, list[str] | None] = {
        f"s{number}": [f"s{(number + 1) % 10_000}"] for number in range(10_000)
    }

    (message,) = faults_of(needs).values()

    assert "s0 → s1 → s2" in message
    assert "(9988 more) → s0" in message


@pytest.mark.parametrize("reader", ["b", "c", "d"])
def test_step_may_read_all_it_waits_for(reader: str) -> None:
    needs: dict[str, list[str] | None] = {
        "d": ["c"],
        "c": ["b"],
        "b": ["a"],
        "a": [],
    }

    plan = plan_of(needs, **{reader: "${steps.a.result}"})

    step = next(step for step in plan.steps if step.name == reader)
    assert step.reads == (3,)


@pytest.mark.parametrize(
    ("reader", "source"), [("a", "b"), ("b", "c"), ("c", "b"), ("a", "a"), ("a", "d")]
)
def test_step_may_not_read_what_need_not_be_finished(reader: str, source: str) -> None:
    needs: dict[str, list[str] | None] = {
        "a": [],
        "b": ["a"],
        "c": ["a"],
        "d": ["b", "c"],
    }

    faults = faults_of(needs, **{reader: f"${{steps.{source}.result}}"})

    (message,) = faults.values()
    assert "need not be finished when this step starts" in message


@pytest.mark.parametrize(
    "expression",
    [
        "size(steps.b.result) > 0",
        'steps["b"].status == "completed"',
        "[1].map(x, steps.b.attempt)",
        "has(steps.b.result.x)",
    ],
)
def test_step_that_need_not_be_finished_is_found_in_expressions(
    expression: str,
) -> None:
    needs: dict[str, list[str] | None] = {"a": [], "b": ["a"], "c": ["a"]}

    faults = faults_of(needs, c=f"${{{expression}}}")

    assert "need not be finished" in faults["steps[2].with.x"]


def test_step_of_a_sequence_may_read_all_before_it() -> None:
    plan = plan_of(
        {"a": None, "b": None, "c": None}, c="${steps.a.result} ${steps.b.status}"
    )

    assert plan.steps[2].reads == (0, 1)


@pytest.mark.parametrize("source", ["b", "c"])
def test_step_of_a_sequence_may_not_read_itself_or_later_ones(source: str) -> None:
    faults = faults_of(
        {"a": None, "b": None, "c": None}, b=f"${{steps.{source}.result}}"
    )

    assert "does not run before this step; move it up" in faults["steps[1].with.x"]


@pytest.mark.parametrize(
    "needs",
    [
        {"a": [], "b": ["aa"], "c": ["b"]},
        {"a": ["b"], "b": ["a"], "c": ["b"]},
        {"a": [], "b": None, "c": ["b"]},
    ],
)
def test_fault_in_the_edges_causes_no_other(
    needs: dict[str, list[str] | None],
) -> None:
    faults = faults_of(needs, c="${steps.a.result}")

    assert len(faults) == 1
    assert "steps[2].with.x" not in faults


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("parameters.nope", 'no parameter is called "nope"'),
        ("parameters", "`parameters` alone is no value"),
        ("execution.now", 'no execution field is called "now"'),
        ("execution.idd", 'did you mean "id"?'),
        ("steps", "`steps` alone is no value"),
        ("steps.aa.result", 'no step is called "aa"'),
        ("steps.a", "a step is no value"),
        ("steps.a.reslut", 'did you mean "result"?'),
        ("item", "there is no `item` here; only for_each has it"),
        ("failure.code", "there is no `failure` here; only a fallback has it"),
        ("env.HOME", 'there is no "env"; use execution.… or parameters.…'),
        ("a + b", '${a}: there is no "a"'),
        ("now()", 'there is no function "now"'),
        ("1 +", "${1 +}: is no expression: mismatched input"),
        ("size(steps.a.result) > steps.aa.result", 'no step is called "aa"'),
        ('steps["aa"].result + 1', 'no step is called "aa"'),
        ("steps[parameters.x].result", "`steps` alone is no value"),
        ("[1].map(x, steps.aa.result)", 'no step is called "aa"'),
        ("size(steps.a)", "a step is no value"),
    ],
)
def test_path_that_leads_nowhere_is_refused(expression: str, message: str) -> None:
    faults = faults_of({"a": [], "b": ["a"]}, b=f"x ${{{expression}}}")

    assert list(faults) == ["steps[1].with.x"]
    assert message in faults["steps[1].with.x"]


def test_all_faults_of_one_text_are_named() -> None:
    faults = faults_of({"a": []}, a="${parameters.x} and ${execution.y}")

    assert faults["steps[0].with.x"].count(": no ") == 2


@pytest.mark.parametrize(
    "expression",
    [
        "execution.id",
        "execution.created_at",
        "execution.tags.0",
        "steps.a.status",
        "steps.a.error.code",
        "steps.a.results.0",
        "steps.a.attempt",
    ],
)
def test_known_paths_are_accepted(expression: str) -> None:
    assert plan_of({"a": [], "b": ["a"]}, b=f"${{{expression}}}").steps


def chain(length: int) -> dict[str, object]:
    """Each step needs the one before and reads one far back."""
    steps: list[dict[str, object]] = [{"id": "s0", "action": "demo.a", "needs": []}]
    steps += [
        {
            "id": f"s{number}",
            "action": "demo.a",
            "needs": [f"s{number - 1}"],
            "with": {"x": f"${{steps.s{number // 2}.result}}"},
        }
        for number in range(1, length)
    ]
    return {"format": 1, "name": "p", "steps": steps}


def seconds_to_compile(length: int) -> float:
    mapping = chain(length)
    started = time.perf_counter()
    plan = Plan.from_mapping(mapping)
    elapsed = time.perf_counter() - started
    assert len(plan.steps) == length
    return elapsed


@pytest.mark.usefixtures("untraced")
def test_chain_compiles_in_time_that_grows_with_its_length() -> None:
    seconds_to_compile(100)  # imports and caches

    short = min(seconds_to_compile(1000) for _ in range(3))
    long = min(seconds_to_compile(10_000) for _ in range(2))

    assert long < 40 * short, f"1,000 steps: {short:.3f} s, 10,000: {long:.3f} s"
