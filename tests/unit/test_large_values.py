"""Large values and their references: told apart from what users write, read late."""

import json
from typing import Any

import pytest

from execution.errors import PayloadLostError, ResultError
from execution.expressions import (
    evaluate_condition,
    evaluate_list,
    evaluate_template,
)
from execution.large_values import (
    REFERENCE_KEY,
    LargeValue,
    identify,
    is_reference,
    is_safe_path,
    load_all,
    revive,
    revive_outcome,
    revive_whole,
)
from execution.results import encode_json

PATH = "plans/0190f3a4-0000-7000-8000-000000000000/3-{}.json".format(
    "0190f3a4-0000-7000-8000-000000000001"
)
WRITTEN = {REFERENCE_KEY: {"path": PATH, "bytes": 300_000, "sha256": "ab"}}
ROWS = [{"n": n, "name": f"row {n}"} for n in range(3)]


class Shelf:
    """Gives one value, and counts how often it is asked."""

    def __init__(self, value: object = None) -> None:
        self.value = {"rows": ROWS} if value is None else value
        self.reads = 0

    def read(self, reference: LargeValue) -> object:
        assert reference.path == PATH
        self.reads += 1
        return self.value

    def lend(self) -> LargeValue:
        found: LargeValue = revive(WRITTEN, self.read)
        return found


def scope_of(result: object, results: object = None) -> dict[str, Any]:
    return {"steps": {"a": {"result": result, "results": results, "status": "x"}}}


def test_a_recorded_reference_is_a_large_value_at_any_depth() -> None:
    shelf = Shelf()

    revived = revive({"a": [1, WRITTEN], "b": "text"}, shelf.read)

    assert revived == {"a": [1, shelf.lend()], "b": "text"}
    assert (shelf.lend().size_bytes, shelf.reads) == (300_000, 0)


@pytest.mark.parametrize(
    "value",
    [
        {REFERENCE_KEY: 1},
        {REFERENCE_KEY: {"path": "p"}},
        {**WRITTEN, "more": 1},
        {REFERENCE_KEY: {"path": 1, "bytes": 1, "sha256": ""}},
        {REFERENCE_KEY: {"path": "", "bytes": 1, "sha256": "", "more": 1}},
        {"payload": WRITTEN[REFERENCE_KEY]},
    ],
)
def test_what_only_looks_like_a_reference_is_none(value: object) -> None:
    shelf = Shelf()

    assert revive(value, shelf.read) == value
    assert revive_whole(value, shelf.read) == value


@pytest.mark.parametrize("value", [None, 0, False, "", [], {}, [WRITTEN]])
def test_only_a_whole_value_is_looked_at_where_nothing_else_can_be(
    value: object,
) -> None:
    assert revive_whole(value, Shelf().read) == value


def test_an_outcome_has_its_results_revived_and_nothing_else() -> None:
    shelf = Shelf()
    outcome = {"result": WRITTEN, "results": [1, WRITTEN], "error": WRITTEN}

    revived = revive_outcome(outcome, shelf.read)

    large = shelf.lend()
    assert revived == {"result": large, "results": [1, large], "error": WRITTEN}
    nothing = {"result": None, "results": None}
    assert revive_outcome(nothing, shelf.read) == nothing


def test_a_value_is_read_once() -> None:
    shelf = Shelf()
    large = shelf.lend()

    assert load_all([large, {"x": large}, 1]) == [shelf.value, {"x": shelf.value}, 1]
    assert shelf.reads == 1


def test_a_reference_is_recorded_as_it_was() -> None:
    text = encode_json({"x": Shelf().lend()}, place="inputs")

    assert json.loads(text) == {"x": WRITTEN}


@pytest.mark.parametrize("value", [WRITTEN, {"a": [WRITTEN]}, {REFERENCE_KEY: None}])
def test_what_a_user_writes_in_the_form_of_one_is_refused(value: object) -> None:
    with pytest.raises(ResultError, match=r"the key '\$payload', which stands for"):
        encode_json(value, place="the result")


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        (encode_json(LargeValue("p", 1, "s", Shelf().read), place="x"), True),
        ('{"a":1}', False),
        ('"$payload"', False),
        (None, False),
    ],
)
def test_a_text_of_ours_is_known_for_a_reference(
    text: str | None, is_one: bool
) -> None:
    assert is_reference(text) is is_one


@pytest.mark.parametrize(
    "path",
    [
        "../etc/passwd",
        f"/{PATH}",
        PATH.replace("plans/", "../plans/"),
        PATH.replace("plans/", "Plans/"),
        PATH.replace("/3-", "/../3-"),
        PATH.replace("/3-", "/-3-"),
        PATH + "\n",
        PATH + "/..",
        PATH.replace("/", "\\"),
        "s3://bucket/" + PATH,
        "",
    ],
)
def test_no_other_path_is_followed(path: str) -> None:
    assert is_safe_path(PATH)
    assert not is_safe_path(path)


def test_equal_large_values_are_the_same_wherever_they_lie() -> None:
    shelf = Shelf()
    elsewhere = LargeValue("other", 300_000, "ab", shelf.read)

    assert identify({"x": [shelf.lend(), 1]}) == identify({"x": [elsewhere, 1]})
    assert identify(shelf.lend()) != identify(LargeValue(PATH, 9, "cd", shelf.read))
    assert shelf.reads == 0


def test_a_value_that_is_handed_on_whole_is_not_read() -> None:
    shelf = Shelf()
    template = {"x": "${steps.a.result}", "n": ["${steps.a.status}"]}

    filled = evaluate_template(template, scope_of(shelf.lend()), place="p")

    assert filled == {"x": shelf.lend(), "n": ["x"]}
    assert shelf.reads == 0


@pytest.mark.parametrize(
    ("text", "comes_to"),
    [
        ("${steps.a.result.rows.1.name}", "row 1"),
        ("${steps.a.result.rows[1].name}", "row 1"),
        ("${size(steps.a.result.rows)}", 3),
        ("${steps.a.result}", {"rows": ROWS}),
        ("of ${size(steps.a.result.rows)}", "of 3"),
        ("${steps.a.result.rows.map(r, r.n)}", [0, 1, 2]),
        ("${get(steps.a.result, 'rows.2.n', 9)}", 2),
        ("${has(steps.a.result.rows)}", True),
    ],
)
def test_an_expression_sees_the_value_itself(text: str, comes_to: object) -> None:
    scope = scope_of(Shelf().lend())

    assert load_all(evaluate_template(text, scope, place="p")) == comes_to


def test_an_expression_sees_what_is_large_among_results() -> None:
    results = [Shelf().lend(), {"rows": []}, None]
    scope = scope_of(None, results)

    for text, comes_to in (
        ("${steps.a.results.0.rows.2.n}", 2),
        ("${completed(steps.a.results).map(r, size(r.rows))}", [3, 0]),
        ("${steps.a.results}", [{"rows": ROWS}, {"rows": []}, None]),
    ):
        assert load_all(evaluate_template(text, scope, place="p")) == comes_to


def test_conditions_and_lists_see_it_too() -> None:
    scope = scope_of(Shelf(ROWS).lend())

    assert evaluate_condition("size(steps.a.result) == 3", scope, place="p")
    assert evaluate_list("steps.a.result", scope, place="p") == ROWS
    assert evaluate_condition(
        "${steps.a.result}", scope_of(Shelf(True).lend()), place="p"
    )


def test_a_large_text_can_stand_in_text() -> None:
    scope = scope_of(Shelf("long").lend())

    assert evaluate_template("so ${steps.a.result}", scope, place="p") == "so long"


@pytest.mark.parametrize("text", ["${steps.a.result.rows}", "${size(steps.a.result)}"])
def test_a_value_that_is_lost_is_an_error_of_its_own(text: str) -> None:
    def lose(_: LargeValue) -> object:
        raise PayloadLostError("it is gone")

    scope = scope_of(revive(WRITTEN, lose))

    with pytest.raises(PayloadLostError, match="it is gone"):
        evaluate_template(text, scope, place="p")
