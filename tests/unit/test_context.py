"""What an action sees and collects, as far as it needs no database."""

import logging
import threading
from collections.abc import Mapping
from typing import Any

import pytest

from execution.answers import Claim, HeldStep, Run
from execution.context import Context, Variables
from execution.database import Database, DatabaseUnavailableError
from execution.errors import ResultError
from execution.patience import Patience
from execution.records import StepRecords
from execution.retry import RetryPolicy
from execution.secrets import NO_SECRETS, StepSecrets

NOWHERE = "postgresql://nobody@/none?host=/nowhere"


def build_context(
    *,
    variables: Mapping[str, Any] | None = None,
    checkpoint: Mapping[str, Any] | None = None,
    patience: Patience | None = None,
    secrets: StepSecrets = NO_SECRETS,
) -> Context:
    """Return the context of a claim whose database cannot be reached."""
    claim = Claim(
        held=HeldStep("e1", 3, "t1"),
        run=Run("e1", "census", {}, {}),
        step="scan",
        action="census.scan",
        attempt=2,
        failures=1,
        retry=RetryPolicy(),
        scope={},
        variables=variables or {},
        condition=None,
        inputs={},
        for_each=None,
        subplan=None,
        loop=None,
        recorded_input=None,
        checkpoint=checkpoint or {},
    )
    return Context(
        claim,
        StepRecords(Database(NOWHERE, "none")),
        lambda _: None,
        patience or Patience(),
        secrets,
    )


def lines_of(ctx: Context) -> list[tuple[str, str]]:
    return [(line.level, line.message) for line in ctx.lines.look(20_000)]


def test_it_says_what_it_is_an_attempt_of() -> None:
    ctx = build_context(checkpoint={"offset": 900})

    assert (ctx.execution_id, ctx.plan, ctx.step) == ("e1", "census", "scan")
    assert ctx.attempt == 2
    assert ctx.checkpoint == {"offset": 900}


def test_the_idempotency_key_is_the_same_for_every_attempt() -> None:
    ctx = build_context()
    before = ctx.idempotency_key

    ctx.begin_attempt(3)

    assert before == ctx.idempotency_key == "e1:scan"


def test_variables_begin_as_they_were_at_the_claim() -> None:
    ctx = build_context(variables={"n": 1})

    assert dict(ctx.variables) == {"n": 1}
    assert ctx.variables.changed == {}


def set_item(variables: Variables) -> None:
    variables["n"] = 2


def set_through_update(variables: Variables) -> None:
    variables.update({"n": 2})


def set_through_union(variables: Variables) -> None:
    variables |= {"n": 2}


def set_by_default(variables: Variables) -> None:
    variables.setdefault("n", 2)


@pytest.mark.parametrize(
    "set_variable", [set_item, set_through_update, set_through_union, set_by_default]
)
def test_what_a_step_sets_is_kept_however_it_sets_it(set_variable: Any) -> None:
    variables = Variables({"other": 1})

    set_variable(variables)

    assert variables.changed == {"n": 2}
    assert variables == {"other": 1, "n": 2}


def test_what_a_step_sets_and_deletes_is_not_set() -> None:
    variables = Variables({})
    variables["n"] = 2

    del variables["n"]

    assert variables.changed == {}


def test_the_next_attempt_forgets_what_the_last_one_set() -> None:
    ctx = build_context(variables={"n": 1})
    ctx.variables["n"] = 2
    ctx.variables["m"] = 3

    ctx.begin_attempt(3)

    assert ctx.variables == {"n": 1}
    assert ctx.variables.changed == {}


def test_the_next_attempt_has_its_number() -> None:
    ctx = build_context()

    ctx.begin_attempt(7)

    assert ctx.attempt == 7


def test_log_lines_are_collected_with_their_levels() -> None:
    ctx = build_context()

    ctx.log.info("a %s", "b")
    ctx.log.warning("c")

    assert lines_of(ctx) == [("info", "a b"), ("warning", "c")]


def test_log_lines_reach_the_loggers_of_the_process(
    caplog: pytest.LogCaptureFixture,
) -> None:
    build_context().log.warning("seen")

    assert [(r.name, r.message) for r in caplog.records] == [("plans.step", "seen")]


@pytest.mark.parametrize(
    ("message", "stored"),
    [
        ("a\x00b", "ab"),
        ("caf\udce9.py", "caf?.py"),
        ("x" * 4_001, "x" * 4_000),
    ],
)
def test_a_log_line_is_made_fit_for_storage(message: str, stored: str) -> None:
    ctx = build_context()

    ctx.log.info(message)

    assert lines_of(ctx) == [("info", stored)]


def test_a_line_that_cannot_be_formatted_does_not_end_the_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # the standard library would tell stderr of it
    monkeypatch.setattr(logging, "raiseExceptions", False)
    ctx = build_context()

    ctx.log.info("%d files", "no number")

    assert lines_of(ctx) == [("info", "%d files (and arguments that do not fit)")]


def test_loggers_of_attempts_are_apart() -> None:
    one, other = build_context(), build_context()

    one.log.info("mine")

    assert lines_of(other) == []


@pytest.mark.parametrize(("value", "stored"), [(0.5, 0.5), (3, 3.0), (True, 1.0)])
def test_a_metric_is_kept_as_a_number(value: float, stored: float) -> None:
    ctx = build_context()

    ctx.metric("quality", value)

    assert ctx._telling._metrics == [{"name": "quality", "value": stored}]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("quality", float("nan")),
        ("quality", float("inf")),
        ("quality\x00", 1.0),
        ("\ud800", 1.0),
    ],
)
def test_a_metric_that_cannot_be_stored_is_refused(name: str, value: float) -> None:
    with pytest.raises(ResultError, match="metric"):
        build_context().metric(name, value)


def test_a_checkpoint_that_is_no_json_is_refused_before_it_is_sent() -> None:
    with pytest.raises(ResultError, match=r"checkpoint of step scan\.done is a set"):
        build_context().save_checkpoint({"done": {1}})


def test_nothing_is_written_when_nothing_was_told() -> None:
    build_context().flush()


def test_an_absent_database_is_waited_for_until_the_process_stops() -> None:
    stopping = threading.Event()
    context = build_context(patience=Patience(stopping.is_set))
    threading.Timer(0.3, stopping.set).start()

    with pytest.raises(DatabaseUnavailableError):
        context.save_checkpoint({"done": [1]})

    assert stopping.is_set()
