"""Random plans without faults, with everything that the language has."""

from typing import Any

from hypothesis import strategies as st

texts = st.text(
    st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=10
)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(min_value=-(2**53), max_value=2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts.map(lambda text: text.replace("${", "").replace("secret:", "")),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4)
    ),
    max_leaves=12,
)
error_names = st.sampled_from(["OSError", "E002", "requests.ConnectionError"])
policies = st.fixed_dictionaries(
    {},
    optional={
        "queue": st.sampled_from(["cpu", "io"]),
        "priority": st.integers(0, 9),
        "timeout": st.sampled_from(["30s", "1h30m", "250ms"]),
        "deadline": st.sampled_from(["2h", "1d"]),
        "retry": st.fixed_dictionaries(
            {},
            optional={
                "attempts": st.integers(1, 9),
                "wait": st.sampled_from(["exponential", "fixed", "random"]),
                "initial": st.sampled_from(["1ms", "1s"]),
                "max": st.sampled_from(["1s", "1d"]),
                "jitter": st.sampled_from(["0s", "1s"]),
                "on": st.sets(error_names).map(sorted),
                "not_on": st.sets(error_names).map(sorted),
                "max_lost": st.integers(1, 9),
            },
        ),
        "on_failure": st.sampled_from(["abort", "skip"]),
        "uses": st.sets(st.sampled_from(["stripe", "s3.eu-1", "mail_2"])).map(sorted),
    },
)


conditions = st.sampled_from(
    [
        *("true", "${parameters.n > 1}", " parameters.n  > 1", "parameters.flag"),
        *('size(parameters.rows) == 0 || "b" in ["}", "${"]', "parameters.none.x"),
    ]
)
lists = st.sampled_from(
    [
        *("parameters.rows", "${parameters.rows}", "[1, 2].map(x, x + parameters.n)"),
        *("parameters.none", "[]"),
    ]
)
inputs_written = st.sampled_from(
    [
        *("secret://TOKEN", "${parameters.n + 1}", "$${n} ${parameters.n}", "plain"),
        "${parameters.none.deep}",
    ]
)
repetitions = st.fixed_dictionaries(
    {"times": st.integers(1, 1000)},
    optional={
        "until": st.sampled_from(
            ["last.done", "${ index > 3 }", "size(last) == parameters.n"]
        ),
        "wait": st.sampled_from(["2s", "1m30s"]),
    },
)
limits = st.sampled_from(["10%", "2.5%", 0, 3])
PARAMETERS = {
    "n": {"type": "integer", "default": 2},
    "flag": {"type": "boolean", "default": True},
    "rows": {"type": "array", "default": [1, 2]},
    "none": {"type": "object"},
}


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Plans without faults: needs lead back only, templates read what is needed."""
    names = draw(
        st.lists(
            st.from_regex(r"s[a-z0-9_]{0,5}", fullmatch=True), min_size=1, unique=True
        )
    )
    in_sequence = draw(st.booleans())
    steps = [
        _draw_step(draw, name, names[:position], in_sequence=in_sequence)
        for position, name in enumerate(names)
    ]
    for step in list(steps):
        steps.extend(_draw_fallbacks(draw, step))
    for step in steps:
        _draw_restore(draw, step)
    steps.extend(_draw_end(draw, names))
    # where a step stands says when it runs only in a sequence
    if not in_sequence and draw(st.booleans()):
        steps = draw(st.permutations(steps))
    rollback = draw(st.sampled_from([[], ["on_failure"], ["on_failure", "on_cancel"]]))
    return {
        "format": 1,
        "name": "p",
        "parameters": PARAMETERS,
        "profiles": {"slow": draw(policies)},
        "defaults": draw(policies),
        "rollback": rollback,
        "failing": draw(st.sampled_from(["finish_running", "cancel_running"])),
        "concurrency": draw(
            st.fixed_dictionaries(
                {"key": st.sampled_from(["all", "n-${parameters.n}"])},
                optional={
                    "limit": st.integers(1, 9),
                    "on_conflict": st.sampled_from(["queue", "cancel_older"]),
                },
            )
        ),
        "steps": steps,
        "result": draw(st.sampled_from(["n", [f"${{steps.{names[0]}.result.x}}"]])),
        "x-note": draw(json_values),
    }


def _draw_step(
    draw: st.DrawFn, name: str, before: list[str], *, in_sequence: bool
) -> dict[str, Any]:
    step = {"id": name, **draw(policies)}
    inputs = draw(st.dictionaries(texts, json_values | inputs_written, max_size=3))
    readable = before
    if not in_sequence:
        readable = sorted(draw(st.sets(st.sampled_from(before))) if before else [])
        step["needs"] = readable
    if draw(st.booleans()):
        step["when"] = draw(conditions)
    if readable:
        source = draw(st.sampled_from(readable))
        inputs["read"] = f"${{steps.{source}.result}}"
        inputs["part"] = f"${{steps.{source}.result.x + 1}}"
        inputs["judged"] = f"at {source}: ${{steps.{source}.attempt + 1}}"
        if draw(st.booleans()):
            step["when"] = f'steps.{source}.status == "completed"'
    if draw(st.booleans()):
        step["profile"] = "slow"
    if draw(st.integers(0, 3)) == 0:
        step["undo"] = {"action": "demo.u", "with": {"it": "${step.result.x}"}}
    return step | _draw_work(draw, inputs)


def _draw_work(draw: st.DrawFn, inputs: dict[str, Any]) -> dict[str, Any]:
    """Return what a step calls: once, for each item of a list, or again and again."""
    work = {"action": "demo.a", "with": inputs}
    match draw(st.integers(0, 6)):
        case 0 | 1:
            inputs["item"] = "${item} at ${index}"
            return {
                **work,
                "for_each": draw(lists),
                "tolerate": draw(limits),
                "max_parallel": 2,
            }
        case 2 | 3:
            inputs |= {"last": "${last}", "turn": "at ${index}"}
            return {"repeat": work | draw(repetitions)}
        case _:
            return work


def _draw_fallbacks(draw: st.DrawFn, step: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a row of steps, of which each stands in for the one before."""
    if "for_each" in step or draw(st.integers(0, 2)):
        return []
    found: list[dict[str, Any]] = []
    for number in range(draw(st.integers(1, 2))):
        fallback: dict[str, Any] = {"id": f"f{number}_{step['id']}", "action": "demo.f"}
        fallback |= draw(policies) | {"with": {"because": "${failure.message}"}}
        if draw(st.booleans()):
            fallback["when"] = draw(conditions)
        (found or [step])[-1]["on_failure"] = {"fallback": fallback["id"]}
        found.append(fallback)
    return found


def _draw_restore(draw: st.DrawFn, step: dict[str, Any]) -> None:
    """Let the failure of a step lead back, to itself or to a need, or be judged."""
    is_falling_back = isinstance(step.get("on_failure"), dict)
    if "for_each" in step or is_falling_back or draw(st.integers(0, 3)):
        return
    if draw(st.booleans()):
        step["on_failure"] = {"strategy": "demo.decide"}
        return
    target = draw(st.sampled_from([step["id"], *step.get("needs", [])]))
    step["on_failure"] = {"restore": target, "times": draw(st.integers(1, 10))}


def _draw_end(draw: st.DrawFn, names: list[str]) -> list[dict[str, Any]]:
    return [
        {
            "id": f"e{number}",
            "action": "demo.e",
            "run_on": draw(st.sampled_from(["failure", "always"])),
            "deadline": "1m",
            "when": draw(conditions),
            "with": {"it": f"${{steps.{names[0]}.status}}"},
        }
        for number in range(draw(st.integers(0, 2)))
    ]
