"""The rules of the plan language, one row each: what a document comes to, or its fault.

A row is named by its rule, in words of its own. `{…}` stands for the rest of a document
that the row is not about.
"""

from collections.abc import Callable
from typing import Any

import pytest

from execution import Plan
from execution.caching import CacheRule
from execution.errors import PlanValidationError

HEAD = "format: 1\nname: p\n"
ONE = "steps: [{id: a, action: t}]\n"


def read(text: str) -> Plan:
    """Return the plan of a text; where it has no head or no steps, it gets some."""
    head = "" if text.startswith(("format", "name")) else HEAD
    steps = "" if "steps:" in text else ONE
    return Plan.from_text(f"{head}{text}\n{steps}", source="p.yaml")


def list_needs(plan: Plan) -> dict[str, list[str]]:
    names = [step.name for step in plan.steps]
    return {s.name: [names[need] for need in s.needs] for s in plan.steps}


def list_field(name: str) -> Callable[[Plan], object]:
    return lambda plan: [getattr(step, name) for step in plan.steps]


def list_attempts(plan: Plan) -> object:
    return [(s.retry.max_attempts, s.retry.initial_seconds) for s in plan.steps]


LONG = "a" * 63
UNDONE = "steps: [{id: a, action: t, undo: {action: u%s}%s}]"
RETRIED = "steps: [{id: a, action: t, retry: {%s}}]"


def with_step(fields: str, *more: str) -> str:
    """Return a document whose first step has these fields."""
    return f"steps: [{', '.join([f'{{id: a, action: t, {fields}}}', *more])}]"


ACCEPTED: dict[str, tuple[str, Callable[[Plan], object], object]] = {
    "a key for others is no part of the plan": (
        "x-team: shop\nsteps: [{id: a, action: t, x-y: 1, retry: {x-z: 2}}]",
        lambda plan: plan == read(RETRIED % ""),
        True,
    ),
    "without needs each step waits for the one above": (
        "steps: [{id: a, action: t}, {id: b, action: t}, {id: c, action: t}]",
        list_needs,
        {"a": [], "b": ["a"], "c": ["b"]},
    ),
    "what defaults say of attempts is not for a step that runs a plan": (
        (
            "defaults: {timeout: 1m, deadline: 2m, retry: {attempts: 4}}\n"
            "steps: [{id: a, plan: p@1.0, with: {x: 1}}]"
        ),
        lambda plan: [
            (s.subplan, s.timeout_seconds, s.deadline_seconds, s.max_attempts)
            for s in plan.steps
        ],
        [("p@1.0", None, 120.0, 1)],
    ),
    "with needs the order of writing says nothing": (
        "steps: [{id: a, action: t, needs: [b]}, {id: b, action: t, needs: []}]",
        list_needs,
        {"a": ["b"], "b": []},
    ),
    "steps of the end and fallbacks stand outside of a sequence": (
        (
            "steps: [{id: a, action: t, on_failure: {fallback: f}}, {id: f, action: t},"
            " {id: e, action: t, run_on: always, deadline: 1m}, {id: b, action: t}]"
        ),
        list_needs,
        {"a": [], "f": ["a"], "e": [], "b": ["a"]},
    ),
    "steps of the end and fallbacks need no needs where others do": (
        (
            "steps: [{id: a, action: t, needs: [], on_failure: {fallback: f}},"
            " {id: f, action: t}, {id: e, action: t, run_on: failure, deadline: 1m}]"
        ),
        list_needs,
        {"a": [], "f": ["a"], "e": []},
    ),
    "a step of the end may read any step and the ends before it": (
        (
            "steps: [{id: a, action: t, needs: []}, {id: b, action: t, needs: []},"
            " {id: e, action: t, run_on: always, deadline: 1m,"
            " with: {x: '${steps.b.status}'}}, {id: g, action: t, run_on: always,"
            " deadline: 1m, with: {x: '${steps.e.status}'}}]"
        ),
        list_field("reads"),
        [(), (), (1,), (2,)],
    ),
    "a step wins over its profile and that over the defaults": (
        (
            "defaults: {queue: d, priority: 1, timeout: 1s}\n"
            "profiles: {slow: {queue: p, priority: 2}}\n"
            "steps: [{id: a, action: t, profile: slow, queue: s}]"
        ),
        lambda plan: [(s.queue, s.priority, s.timeout_seconds) for s in plan.steps],
        [("s", 2, 1.0)],
    ),
    "what is used is that of the innermost policy, sorted and named once": (
        (
            "defaults: {uses: [mail]}\nprofiles: {none: {uses: []}}\n"
            "steps: [{id: a, action: t}, {id: b, action: t, uses: [b.2, a-1_x, b.2]},"
            " {id: c, action: t, profile: none}, {id: d, sleep: 1s},"
            " {id: e, plan: other}]"
        ),
        list_field("uses"),
        [("mail",), ("a-1_x", "b.2"), (), (), ()],
    ),
    "an undo states itself what it uses": (
        UNDONE % (", uses: [bank]", ", uses: [mail]"),
        list_field("uses"),
        [("mail",), ("bank",)],
    ),
    "retry is replaced as a whole": (
        (
            "defaults: {retry: {attempts: 9, initial: 7s}}\n"
            "steps: [{id: a, action: t, retry: {initial: 2s}}, {id: b, action: t}]"
        ),
        list_attempts,
        [(1, 2.0), (9, 7.0)],
    ),
    "the defaults hold for what undoes a step, its profile does not": (
        "defaults: {timeout: 5s}\nprofiles: {slow: {queue: p}}\n"
        + UNDONE % ("", ", profile: slow"),
        lambda plan: [(s.name, s.queue, s.timeout_seconds) for s in plan.steps],
        [("a", "p", 5.0), ("a.undo", None, 5.0)],
    ),
    "an undo states limits of its own": (
        UNDONE % (", queue: q, priority: 3, deadline: 2m, retry: {attempts: 4}", ""),
        lambda plan: [
            (s.queue, s.priority, s.deadline_seconds, s.max_attempts)
            for s in plan.steps[1:]
        ],
        [("q", 3, 120.0, 4)],
    ),
    "a duration has units, the largest first": (
        "deadline: 1d2h3m4s5ms",
        lambda plan: plan.deadline_seconds,
        93784.005,
    ),
    "an id has up to 63 characters": (
        f"steps: [{{id: {LONG}, action: t}}]",
        list_field("name"),
        [LONG],
    ),
    "integers are exact up to 2^53": (
        f"steps: [{{id: a, action: t, with: {{x: {2**53}, y: -{2**53}}}}}]",
        list_field("inputs"),
        [{"x": 2**53, "y": -(2**53)}],
    ),
    "what YAML 1.1 took for something else is text": (
        "steps: [{id: a, action: t, with: {x: NO, y: on, z: 12:30}}]",
        list_field("inputs"),
        [{"x": "NO", "y": "on", "z": "12:30"}],
    ),
    "a condition may have its braces or not": (
        (
            "parameters: {n: {type: boolean}}\n"
            "steps: [{id: a, action: t, when: parameters.n},"
            " {id: b, action: t, when: '${parameters.n}'}]"
        ),
        lambda plan: len({str(s.condition).strip("${}") for s in plan.steps}),
        1,
    ),
    "a list may have its braces or not": (
        (
            "parameters: {n: {type: array}}\n"
            "steps: [{id: a, action: t, for_each: parameters.n},"
            " {id: b, action: t, for_each: '${parameters.n}'}]"
        ),
        lambda plan: len({s.for_each for s in plan.steps}),
        1,
    ),
    "an item is named in the inputs of its step": (
        (
            "parameters: {n: {type: array}}\nsteps: [{id: a, action: t,"
            " for_each: parameters.n, max_parallel: 2, tolerate: 10%,"
            " with: {x: '${item.k} of ${index}'}}]"
        ),
        lambda plan: [(s.max_parallel, s.tolerate_percent) for s in plan.steps],
        [(2, 10.0)],
    ),
    "a result may be used again, by its inputs or by a key": (
        (
            "parameters: {n: {type: array}}\n"
            "steps: [{id: a, action: t, cache: {ttl: 1h30m}},"
            " {id: b, action: t, for_each: parameters.n,"
            " cache: {ttl: 1s, key: '${item} ${index} ${steps.a.result}'}}]"
        ),
        lambda plan: [(s.cache, s.reads) for s in plan.steps],
        [
            (CacheRule(5400.0), ()),
            (CacheRule(1.0, "${item} ${index} ${steps.a.result}"), (0,)),
        ],
    ),
    "some items may be skipped, by number": (
        (
            "parameters: {n: {type: array}}\n"
            "steps: [{id: a, action: t, for_each: parameters.n, tolerate: 3}]"
        ),
        list_field("tolerate"),
        [3],
    ),
    "without braces of its own an opening is text": (
        "steps: [{id: a, action: t, with: {x: '$${y}'}}]",
        list_field("reads"),
        [()],
    ),
    "keys are never expanded": (
        "steps: [{id: a, action: t, with: {k: {'${nothing}': 1}}}]",
        list_field("reads"),
        [()],
    ),
    "a brace in a text of an expression closes nothing": (
        (
            "steps: [{id: a, action: t}, {id: b, action: t,"
            " with: {x: '${steps.a.result == \"}\" ? {1: 2}[1] : 3}'}}]"
        ),
        list_field("reads"),
        [(), (0,)],
    ),
    "all that came before may be read, not only what is needed": (
        (
            "steps: [{id: a, action: t, needs: []}, {id: b, action: t, needs: [a]},"
            " {id: c, action: t, needs: [b], with: {x: '${steps.a.result}'}}]"
        ),
        list_field("reads"),
        [(), (), (0,)],
    ),
    "a fallback may read what its step may": (
        (
            "steps: [{id: a, action: t}, {id: b, action: t, on_failure: {fallback: f}},"
            " {id: f, action: t,"
            " with: {x: '${steps.a.result}', y: '${failure.message}'}}]"
        ),
        list_field("reads"),
        [(), (), (0,)],
    ),
    "a fallback may have one": (
        (
            "steps: [{id: a, action: t, on_failure: {fallback: f}},"
            " {id: f, action: t, on_failure: {fallback: g}}, {id: g, action: t}]"
        ),
        list_field("stands_in_for"),
        [None, 0, 1],
    ),
    "an undo may read its step": (
        UNDONE % (", with: {x: '${step.result}', y: '${steps.a.attempt}'}", ""),
        list_field("undoes"),
        [None, 0],
    ),
    "the result may read the end": (
        (
            "steps: [{id: a, action: t},"
            " {id: e, action: t, run_on: always, deadline: 1m}]\n"
            "result: ${steps.e.result}"
        ),
        lambda plan: plan.result_reads,
        (1,),
    ),
    "without a result it is that of the only leaf": (
        (
            "steps: [{id: a, action: t, needs: []}, {id: b, action: t, needs: [a],"
            " on_failure: {fallback: f}}, {id: f, action: t}]"
        ),
        lambda plan: plan.result_reads,
        (1,),
    ),
    "several leaves have no result": (
        "steps: [{id: a, action: t, needs: []}, {id: b, action: t, needs: []}]",
        lambda plan: plan.result_reads,
        (),
    ),
    "a secret is an input of a step or its undo": (
        UNDONE % (", with: {x: ['secret://A']}", ", with: {y: 'secret://B'}"),
        list_field("inputs"),
        [{"y": "secret://B"}, {"x": ["secret://A"]}],
    ),
    "one cause of a rollback needs no list": (
        "rollback: on_cancel",
        lambda plan: [str(cause) for cause in plan.rollback],
        ["cancel"],
    ),
    "a rollback after a failure is one after the deadline, too": (
        "rollback: [on_failure]",
        lambda plan: sorted(map(str, plan.rollback)),
        ["abort", "deadline"],
    ),
    "a key is made of texts and paths of parameters": (
        (
            "parameters: {c: {type: string}, o: {type: object}}\n"
            "concurrency: {key: 'eu-${parameters.c}/${parameters.o.p.0}$${x}'}"
        ),
        lambda plan: plan.concurrency and plan.concurrency.key_parts,
        ("eu-", ("c",), "/", ("o", "p", "0"), "${x}"),
    ),
    "one runs at a time under a key, and others wait": (
        "concurrency: {key: all}",
        lambda plan: (
            plan.concurrency and (plan.concurrency.limit, plan.concurrency.on_conflict)
        ),
        (1, "queue"),
    ),
    "running steps are told of a failure only on request": (
        "failing: cancel_running",
        lambda plan: (plan.cancels_running, read("").cancels_running),
        (True, False),
    ),
    "one attempt and three losses are the rule": (
        "",
        lambda plan: [(s.max_attempts, s.max_lost) for s in plan.steps],
        [(1, 3)],
    ),
    "nothing limits the time unless it is stated": (
        "",
        lambda plan: (
            plan.deadline_seconds,
            list_field("timeout_seconds")(plan),
            len(plan.warnings),
        ),
        (None, [None], 1),
    ),
    "a deadline makes the warning superfluous": (
        "deadline: 1h",
        lambda plan: plan.warnings,
        (),
    ),
    "who would undo items is warned": (
        (
            "rollback: on_failure\ndefaults: {timeout: 1h}\n"
            "steps: [{id: a, action: t, for_each: execution.tags,"
            " undo: {action: u}}]"
        ),
        lambda plan: [
            str(warning).partition(" runs only")[0] for warning in plan.warnings
        ],
        ["a.undo"],
    ),
    "a plan has a version, tags and words on it": (
        "version: '2'\ndescription: 'Does: it'\ntags: [a b, c]",
        lambda plan: (plan.version, plan.description, plan.tags),
        ("2", "Does: it", ("a b", "c")),
    ),
    "an id may have any letters but those of the language": (
        "steps: [{id: inn, action: t}, {id: truer, action: t}, {id: a_1, action: t}]",
        list_field("name"),
        ["inn", "truer", "a_1"],
    ),
    "items go to any number of workers unless it is stated": (
        with_step("for_each: execution.tags"),
        lambda plan: [(s.max_parallel, s.tolerate) for s in plan.steps],
        [(None, None)],
    ),
    "failures abort unless it is stated": ("", list_field("on_failure"), ["abort"]),
    "waits grow from a second to a minute unless it is stated": (
        "",
        lambda plan: [
            (s.retry.wait, s.retry.initial_seconds, s.retry.max_seconds)
            for s in plan.steps
        ],
        [("exponential", 1.0, 60.0)],
    ),
    "a fixed wait needs no longest one": (
        RETRIED % "wait: fixed, initial: 2m",
        lambda plan: [s.retry.initial_seconds for s in plan.steps],
        [120.0],
    ),
    "ten thousand steps are allowed": (
        "steps:\n" + "".join(f"  - {{id: s{n}, action: t}}\n" for n in range(10_000)),
        lambda plan: len(plan.steps),
        10_000,
    ),
}


@pytest.mark.parametrize(
    ("text", "find", "expected"), ACCEPTED.values(), ids=ACCEPTED.keys()
)
def test_rule_holds(text: str, find: Callable[[Plan], object], expected: Any) -> None:
    assert find(read(text)) == expected


def with_input(expression: str) -> str:
    return f"steps:\n- id: a\n  action: t\n  with: {{x: '${{{expression}}}'}}"


LATER = "not supported by this release yet"
FALLS = "on_failure: {fallback: f}"
FALLBACK = "{id: f, action: t}"
ITEMS = "for_each: execution.tags"

REFUSED: dict[str, tuple[str, str, str]] = {
    "a key is stated": ("concurrency: {limit: 2}", "concurrency.key", "is missing"),
    "a key reads no step": (
        "concurrency: {key: '${steps.a.result}'}",
        "concurrency.key",
        "of texts and ${parameters.…} alone",
    ),
    "a key computes nothing": (
        "concurrency: {key: '${1 + 1}'}",
        "concurrency.key",
        "of texts and ${parameters.…} alone",
    ),
    "a key reads parameters that there are": (
        "parameters: {c: {type: string}}\nconcurrency: {key: '${parameters.d}'}",
        "concurrency.key",
        'no parameter is called "d"',
    ),
    "a list is no part of a key": (
        "parameters: {c: {type: array}}\nconcurrency: {key: '${parameters.c}'}",
        "concurrency.key",
        "name a part of it",
    ),
    "what becomes of more is one of three": (
        "concurrency: {key: k, on_conflict: drop}",
        "concurrency.on_conflict",
        "must be",
    ),
    "at least one runs": (
        "concurrency: {key: k, limit: 0}",
        "concurrency.limit",
        "greater than or equal to 1",
    ),
    "the format is stated": ("name: p", "format", "is missing"),
    "the format is one that is known": ("format: 2\nname: p", "format", "2"),
    "an unknown field names the nearest": ("nmae: q", "nmae", 'mean "name"'),
    "an unknown field of a step names the nearest": (
        with_step("quue: x"),
        "steps[0].quue",
        'mean "queue"',
    ),
    **{
        f"{word} is reserved for good": (f"{word}: 1", word, "reserved")
        for word in ("switch", "matrix", "include", "env")
    },
    **{
        f"{word} is reserved in steps, too": (
            with_step(f"{word}: 1"),
            f"steps[0].{word}",
            "reserved",
        )
        for word in ("switch", "matrix", "include", "env")
    },
    **{
        f"{word} of documents is to come": (f"{word}: 1", word, LATER)
        for word in ("budget",)
    },
    **{
        f"{word} of steps is to come": (
            with_step(f"{word}: 1"),
            f"steps[0].{word}",
            LATER,
        )
        for word in ("effect", "checkpoint", "resources")
    },
    "a sleep is a duration": (
        "steps: [{id: a, sleep: soon}]",
        "steps[0].sleep",
        "is not a duration",
    ),
    "a sleep takes some time": (
        "steps: [{id: a, sleep: 0s}]",
        "steps[0].sleep",
        "must be longer than nothing",
    ),
    "a sleep ends at a moment with its offset": (
        "steps: [{id: a, sleep_until: 2026-12-01}]",
        "steps[0].sleep_until",
        "must be a moment with its offset from UTC",
    ),
    "a sleep ends at a moment that there is": (
        "steps: [{id: a, sleep_until: '2026-02-30T00:00:00Z'}]",
        "steps[0].sleep_until",
        "is no moment",
    ),
    "a sleep reads what is settled": (
        "steps: [{id: a, sleep: '${steps.b.result}'}, {id: b, action: t}]",
        "steps[0].sleep",
        "does not run before this step",
    ),
    **{
        f"a step that sleeps has no {name}": (
            f"steps: [{{id: a, sleep: 1h, {name}: {value}}}]",
            f"steps[0].{name}",
            message,
        )
        for name, value, message in (
            ("with", "{x: 1}", "takes nothing"),
            ("timeout", "1m", "is for an attempt"),
            ("retry", "{attempts: 2}", "nothing is attempted"),
            ("cache", "{ttl: 1h}", "has no result"),
            ("for_each", "'[1]'", "sleep once"),
            ("undo", "{action: t}", "nothing is done"),
        )
    },
    "a restore says how often": (
        with_step("on_failure: {restore: a}"),
        "steps[0].on_failure",
        "`times` must say how often",
    ),
    "a restore may be done ten times": (
        with_step("on_failure: {restore: a, times: 11}"),
        "steps[0].on_failure",
        "`times` must say how often",
    ),
    "a restore leads to a step of the plan": (
        with_step("on_failure: {restore: aa, times: 1}"),
        "steps[0].on_failure.restore",
        'did you mean "a"?',
    ),
    "a restore leads back, and not on": (
        with_step("on_failure: {restore: b, times: 1}", "{id: b, action: t}"),
        "steps[0].on_failure.restore",
        "does not run before this step",
    ),
    "items restore nothing": (
        with_step("for_each: '[1]', on_failure: {restore: a, times: 1}"),
        "steps[0].on_failure",
        "cannot be stated together",
    ),
    "a strategy has a name without spaces": (
        with_step("on_failure: {strategy: x y}"),
        "steps[0].on_failure",
        "without spaces",
    ),
    "items ask no strategy": (
        with_step("for_each: '[1]', on_failure: {strategy: x}"),
        "steps[0].on_failure",
        "cannot be stated together",
    ),
    "a step says what it does": (
        "steps: [{id: a}]",
        "steps[0]",
        "must state `action`, `plan`, `repeat`, `sleep`, `sleep_until` or `wait_for`",
    ),
    "a step does one thing": (
        "steps: [{id: a, action: t, plan: p}]",
        "steps[0]",
        "`action` and `plan`",
    ),
    **{
        f"a step that runs a plan states no {name}": (
            (
                "steps: [{id: b, action: t},"
                f" {{id: a, plan: p, {name}: {value}, deadline: 1m}}]"
            ),
            f"steps[1].{name}",
            "",
        )
        for name, value in (
            ("timeout", "1m"),
            ("retry", "{attempts: 2}"),
            ("cache", "{ttl: 1m}"),
            ("run_on", "always"),
        )
    },
    "no secret is handed to a plan": (
        "steps: [{id: a, plan: p, with: {k: [secret://key]}}]",
        "steps[0].with.k[0]",
        "would store it",
    ),
    "a plan is named as it is published": (
        "steps: [{id: a, plan: 'p q'}]",
        "steps[0].plan",
        "letters, digits",
    ),
    "an id is not longer": (
        f"steps: [{{id: {LONG}b, action: t}}]",
        "steps[0].id",
        "up to 62",
    ),
    **{
        f"an id is not {name!r}": (
            f"steps: [{{id: '{name}', action: t}}]",
            "steps[0].id",
            "",
        )
        for name in (
            "A",
            "1a",
            "a-b",
            "_a",
            "",
            "a.b",
            "é",
            "in",
            "true",
            "null",
            "for",
        )
    },
    "two steps differ by their ids": (
        with_step("", "{id: a, action: u}"),
        "steps[1].id",
        "already",
    ),
    "once one step states needs all do": (
        with_step("needs: []", "{id: b, action: t}"),
        "steps[1].needs",
        "is missing",
    ),
    "a fallback states no needs": (
        with_step(f"needs: [], {FALLS}", "{id: f, action: t, needs: []}"),
        "steps[1].needs",
        "",
    ),
    "a step of the end states no needs": (
        with_step(
            "needs: []", "{id: e, action: t, needs: [a], run_on: always, deadline: 1m}"
        ),
        "steps[1].needs",
        "run_on",
    ),
    "nothing needs a fallback": (
        with_step(f"needs: [], {FALLS}", FALLBACK, "{id: b, action: t, needs: [f]}"),
        "steps[2].needs[0]",
        "in place of",
    ),
    "nothing needs a step of the end": (
        with_step("needs: [e]", "{id: e, action: t, run_on: always, deadline: 1m}"),
        "steps[0].needs[0]",
        "at the end",
    ),
    "a need is a step of the plan": (
        with_step("needs: [b]"),
        "steps[0].needs[0]",
        "no step is called",
    ),
    "a need that is misspelt names the nearest": (
        with_step(
            "needs: []",
            "{id: collect, action: t, needs: []}",
            "{id: c, action: t, needs: [colect]}",
        ),
        "steps[2].needs[0]",
        'mean "collect"',
    ),
    "a step does not need itself": (
        with_step("needs: [a]"),
        "steps[0].needs[0]",
        "itself",
    ),
    "a need is named once": (
        with_step("needs: []", "{id: b, action: t, needs: [a, a]}"),
        "steps[1].needs[1]",
        "second time",
    ),
    "nobody needs an item": (
        with_step(f"needs: [], {ITEMS}", "{id: b, action: t, needs: ['a[0]']}"),
        "steps[1].needs[0]",
        "no step is called",
    ),
    "nobody reads an item but in the results": (
        with_step(ITEMS, "{id: b, action: t, with: {x: '${steps.a[0].result}'}}"),
        "steps[1].with.x",
        "no value",
    ),
    "needs lead to no circle": (
        with_step("needs: [b]", "{id: b, action: t, needs: [a]}"),
        "steps[0].needs",
        "wait for each other",
    ),
    "fallbacks lead to no circle": (
        with_step(
            f"{FALLS}",
            "{id: f, action: t, on_failure: {fallback: g}}",
            "{id: g, action: t, on_failure: {fallback: f}}",
        ),
        "steps[2].on_failure.fallback",
        "",
    ),
    "a fallback stands in for one step": (
        with_step(FALLS, "{id: b, action: t, on_failure: {fallback: f}}", FALLBACK),
        "steps[1].on_failure.fallback",
        "",
    ),
    "a fallback is a step of the plan": (
        with_step(FALLS),
        "steps[0].on_failure.fallback",
        "no step is called",
    ),
    "items have no fallback": (
        with_step(f"{ITEMS}, {FALLS}", FALLBACK),
        "steps[0].on_failure",
        "for_each",
    ),
    "the end has no fallback": (
        with_step(
            "", f"{{id: e, action: t, run_on: always, deadline: 1m, {FALLS}}}", FALLBACK
        ),
        "steps[1].on_failure",
        "run_on",
    ),
    "a fallback belongs to steps alone": (
        "defaults: {on_failure: {fallback: a}}",
        "defaults.on_failure",
        "cannot be a mapping here",
    ),
    "a step of the end has a deadline": (
        with_step("", "{id: e, action: t, run_on: always}"),
        "steps[1].deadline",
        "is missing",
    ),
    "a profile has a name, at the end as well": (
        "profiles: {slow: {}}\ndefaults: {deadline: 1m}\n"
        + with_step("", "{id: e, action: t, run_on: always, profile: [slow]}"),
        "steps[1].profile",
        "must be text",
    ),
    "a profile is one of the plan": (
        "profiles: {slow: {}}\n" + with_step("profile: slo"),
        "steps[0].profile",
        'mean "slow"',
    ),
    "a profile states policies alone": (
        "profiles: {slow: {needs: []}}\n" + with_step("profile: slow"),
        "profiles.slow.needs",
        "not a field here",
    ),
    "a profile has no profile": (
        "profiles: {slow: {profile: slow}}\n" + with_step("profile: slow"),
        "profiles.slow.profile",
        "not a field here",
    ),
    "the end is not all there is": (
        with_step("run_on: always, deadline: 1m"),
        "steps",
        "run_on",
    ),
    "the end is not undone": (
        with_step(
            "", "{id: e, action: t, run_on: always, deadline: 1m, undo: {action: u}}"
        ),
        "steps[1].undo",
        "run_on",
    ),
    "other steps do not read the end": (
        with_step(
            "with: {x: '${steps.e.status}'}",
            "{id: e, action: t, run_on: always, deadline: 1m}",
        ),
        "steps[0].with.x",
        "run_on",
    ),
    "the end does not run on success alone": (
        with_step("", "{id: e, action: t, run_on: success, deadline: 1m}"),
        "steps[1].run_on",
        "",
    ),
    "an undo has no policy for failures": (
        UNDONE % (", on_failure: skip", ""),
        "steps[0].undo.on_failure",
        "",
    ),
    **{
        f"nothing that is used is called {name}": (
            with_step(f"uses: [ok, {name}]"),
            "steps[0].uses[1]",
            "lower-case letter",
        )
        for name in ("Stripe", "1st", "''", "a b", "'${parameters.n}'", "a" * 65)
    },
    "what is used is a list": (with_step("uses: stripe"), "steps[0].uses", "list"),
    "a step uses 20 at most": (
        with_step(f"uses: [{', '.join(f'a{n}' for n in range(21))}]"),
        "steps[0].uses",
        "20",
    ),
    "what sleeps uses nothing": (
        "steps: [{id: a, sleep: 1s, uses: [clock]}]",
        "steps[0].uses",
        "is for an action",
    ),
    "what runs a plan uses nothing itself": (
        "steps: [{id: a, plan: other, uses: [mail]}]",
        "steps[0].uses",
        "is for an action",
    ),
    "a limit of parallel items is for items": (
        with_step("max_parallel: 2"),
        "steps[0].max_parallel",
        "for_each",
    ),
    "what is tolerated is items": (
        with_step("tolerate: 2"),
        "steps[0].tolerate",
        "for_each",
    ),
    **{
        f"{value} is not tolerated": (
            with_step(f"{ITEMS}, tolerate: {value}"),
            "steps[0].tolerate",
            "",
        )
        for value in ("-1", "101%", "1.5", "many", "-1%", "true")
    },
    "at least one item runs at a time": (
        with_step(f"{ITEMS}, max_parallel: 0"),
        "steps[0].max_parallel",
        "1",
    ),
    "no anchors": (
        "steps: [&x {id: a, action: t}]",
        "steps[0]",
        "anchor",
    ),
    "no aliases": (with_step("with: {x: *y}"), "steps[0].with.x", "alias"),
    "no tags": (with_step("with: {x: !!str 1}"), "steps[0].with.x", "tag"),
    "no keys twice": (with_step("queue: a, queue: b"), "steps[0].queue", "twice"),
    "no merge keys": (
        with_step("with: {<<: {x: 1}}"),
        'steps[0].with["<<"]',
        "merge key",
    ),
    "no keys but text": (
        with_step("with: {x: {1: 2}}"),
        'steps[0].with.x["1"]',
        "text",
    ),
    "no second document": (f"{ONE}---\nsteps: 1", "p.yaml", ""),
    **{
        f"{value!r} is no duration": (
            with_step(f"timeout: {value}"),
            "steps[0].timeout",
            "",
        )
        for value in ("30", "1.5h", "1m1h", "1 h", "1H", "h", "-1s", "0s", "1w", "1h1h")
    },
    "an integer beyond 2^53 is refused": (
        with_step(f"with: {{x: {2**53 + 1}}}"),
        "steps[0].with.x",
        "",
    ),
    "an integer below -2^53 is refused": (
        with_step(f"with: {{x: -{2**53 + 1}}}"),
        "steps[0].with.x",
        "",
    ),
    "numbers end": (with_step("with: {x: .inf}"), "steps[0].with.x", "finite"),
    "what undoes has inputs no larger than what is stored inline": (
        UNDONE % (f", with: {{x: {'a' * 257 * 1024}}}", ""),
        "steps[0].undo.with",
        "262,144",
    ),
    "a field has a value": ("description:", "description", "empty"),
    "a version is text": ("version: 2", "version", "quotes"),
    "nesting ends": (
        with_step(f"with: {{x: {'[' * 65}{']' * 65}}}"),
        "steps[0].with.x" + "[0]" * 12 + "…",
        "64",
    ),
    "inputs are no larger than what is stored inline": (
        with_step(f"with: {{x: {'a' * 257 * 1024}}}"),
        "steps[0].with",
        "262,144",
    ),
    "no more than ten thousand steps": (
        "steps:\n" + "".join(f"  - {{id: s{n}, action: t}}\n" for n in range(10_001)),
        "steps",
        "10,000 are allowed",
    ),
    **{
        f"there is no {root} among the names": (
            with_input(f"{root}.x"),
            "steps[0].with.x",
            f'no "{root}"',
        )
        for root in ("variables", "env", "secrets", "now")
    },
    **{
        f"{root} is named only where there is one": (
            with_input(f"{root}.x"),
            "steps[0].with.x",
            f"no `{root}` here",
        )
        for root in ("item", "index", "step", "failure")
    },
    "a condition knows no items": (
        with_step(f"{ITEMS}, when: item > 1"),
        "steps[0].when",
        "no `item` here",
    ),
    "an undo knows no items": (
        with_step(f"{ITEMS}, undo: {{action: u, with: {{x: '${{item}}'}}}}"),
        "steps[0].undo.with.x",
        "no `item` here",
    ),
    "only what came before is read": (
        with_step("with: {x: '${steps.b.result}'}", "{id: b, action: t}"),
        "steps[0].with.x",
        "move it up",
    ),
    "only what came before is asked for": (
        with_step(
            "needs: [], when: steps.b.status == 'x'", "{id: b, action: t, needs: []}"
        ),
        "steps[0].when",
        "need not be finished",
    ),
    "what a step came to has five fields": (
        with_step("", "{id: b, action: t, with: {x: '${steps.a.value}'}}"),
        "steps[1].with.x",
        "no outcome field",
    ),
    "a status is compared with one that there is": (
        with_step("", "{id: b, action: t, when: steps.a.status == 'done'}"),
        "steps[1].when",
        "no status",
    ),
    "an error does not stand in text": (
        with_step("", "{id: b, action: t, with: {x: 'why ${steps.a.error}'}}"),
        "steps[1].with.x",
        "steps.a.error",
    ),
    "a failure has known fields": (
        with_step(FALLS, "{id: f, action: t, with: {x: '${failure.reason}'}}"),
        "steps[1].with.x",
        "field of a failure",
    ),
    "an execution has three fields": (
        with_input("execution.name"),
        "steps[0].with.x",
        "execution field",
    ),
    "an expression is compiled when it is read": (
        with_input("1 +"),
        "steps[0].with.x",
        "no expression",
    ),
    "an expression of the result is compiled when it is read": (
        "result: ${1 +}",
        "result",
        "no expression",
    ),
    "an opening is closed": ("result: 'x ${1'", "result", "not closed"),
    "there is something between the braces": ("result: ${ }", "result", "holds no"),
    "functions are those of the language": (
        with_input("now() > 1"),
        "steps[0].with.x",
        "no function",
    ),
    "a parameter is declared": (
        with_input("parameters.x"),
        "steps[0].with.x",
        "no parameter",
    ),
    "an expression is not longer": (
        with_input("1" + " " * 1024 + "+ 1"),
        "steps[0].with.x",
        "1,024",
    ),
    "brackets are not deeper": (
        with_input("(" * 17 + "1" + ")" * 17),
        "steps[0].with.x",
        "16",
    ),
    "operators are not more": (
        with_input("+".join("1" * 66)),
        "steps[0].with.x",
        "64",
    ),
    "comprehensions are not more": (
        with_input("+".join(["[1].map(x, x)"] * 5)),
        "steps[0].with.x",
        "4",
    ),
    "comprehensions do not nest": (
        with_input("[[1]].map(x, x.map(y, y))"),
        "steps[0].with.x",
        "",
    ),
    "a secret is no result": ("result: secret://A", "result", "secret"),
    "a secret is no default": (
        "parameters: {x: {type: string, default: 'secret://A'}}",
        "parameters.x.default",
        "secret",
    ),
    "a secret decides nothing": (
        with_step("when: secret://A"),
        "steps[0].when",
        "secret",
    ),
    "a secret is the whole text": (
        with_step("with: {x: 'Bearer secret://A'}"),
        "steps[0].with.x",
        "secret",
    ),
    "there is at least one attempt": (
        RETRIED % "attempts: 0",
        "steps[0].retry.attempts",
        "1",
    ),
    "waits grow in known ways": (RETRIED % "wait: linear", "steps[0].retry.wait", ""),
    "the longest wait is no shorter than the first": (
        RETRIED % "initial: 2s, max: 1s",
        "steps[0].retry.initial",
        "max",
    ),
    "an error has a name": (RETRIED % "on: ['not a name']", "steps[0].retry.on[0]", ""),
    "a rollback has known causes": ("rollback: always", "rollback", ""),
    "running steps have known fates": ("failing: kill", "failing", ""),
}


@pytest.mark.parametrize(
    ("text", "place", "message"), REFUSED.values(), ids=REFUSED.keys()
)
def test_breach_has_its_place(text: str, place: str, message: str) -> None:
    with pytest.raises(PlanValidationError) as raised:
        read(text)

    faults = raised.value.faults
    assert [fault.place for fault in faults] == [place]
    assert message in faults[0].message
    assert faults[0].line is not None
    assert faults[0].column is not None


def test_every_fault_is_told_at_once_with_its_rule() -> None:
    text = (
        "nmae: q\nsteps:\n- {id: a, action: t, needs: [b], timeout: 30}\n"
        "- {id: c, action: t, with: {x: '${steps.d.result}'}}\nresult: ${1 +}"
    )

    with pytest.raises(PlanValidationError) as raised:
        read(text)

    assert [(fault.line, fault.place, fault.rule) for fault in raised.value.faults] == [
        (3, "nmae", "unknown-field"),
        (5, "steps[0].needs[0]", "unknown-step"),
        (5, "steps[0].timeout", "wrong-duration"),
        (6, "steps[1].needs", "missing-needs"),
        (6, "steps[1].with.x", "unknown-step"),
        (7, "result", "expression-syntax"),
    ]


def test_a_document_has_no_more_than_4_mb() -> None:
    with pytest.raises(PlanValidationError) as raised:
        read(f"description: {'a' * 4 * 1024 * 1024}")

    assert [fault.rule for fault in raised.value.faults] == ["document-size"]
