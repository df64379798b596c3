"""The log lines of the stand-alone app name what they are about."""

import io
import logging
from collections.abc import Iterator

import pytest
from celery.app.log import TaskFormatter

from execution.celery.log_fields import show_fields


@pytest.fixture
def output() -> Iterator[io.StringIO]:
    """What the handler of a logger above ours writes, in Celery's way."""
    logger, stream = logging.getLogger("execution"), io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(TaskFormatter("%(levelname)s %(message)s", use_color=False))
    logger.addHandler(handler)
    show_fields(logger)
    show_fields(logger)
    yield stream
    logger.removeHandler(handler)


ours = logging.getLogger("execution.celery.somewhere")


def test_ids_follow_the_message(output: io.StringIO) -> None:
    ours.warning(
        "lost step", extra={"execution_id": "e1", "position": 2, "cause": None}
    )

    assert output.getvalue() == "WARNING lost step execution_id=e1 position=2\n"


def test_a_traceback_comes_after_them(output: io.StringIO) -> None:
    try:
        int("bad")
    except ValueError:
        ours.exception("it failed", extra={"execution_id": "e1"})

    first, *_, last = output.getvalue().splitlines()
    assert first == "ERROR it failed execution_id=e1"
    assert last.startswith("ValueError: invalid literal")


def test_a_value_cannot_forge_a_line(output: io.StringIO) -> None:
    ours.warning("away", extra={"cause": 'no\nERROR "x"\x1b[2J\u2028\ud800'})

    expected = r'WARNING away cause="no\nERROR \"x\"\x1b[2J\u2028\ud800"' + "\n"
    assert output.getvalue() == expected


def test_a_password_of_a_url_is_not_shown(output: io.StringIO) -> None:
    ours.warning("away", extra={"cause": "redis://ann:s3cret@db:6379/0"})

    assert output.getvalue() == "WARNING away cause=redis://ann:***@db:6379/0\n"


def test_a_password_that_libpq_names_is_not_shown(output: io.StringIO) -> None:
    ours.warning("away", extra={"cause": "host=db password=s3cret user=ann"})

    assert "s3cret" not in output.getvalue()
    assert "user=ann" in output.getvalue()


def test_what_is_long_is_cut(output: io.StringIO) -> None:
    ours.warning("away", extra={f"cause{n}": "x" * 10_000 for n in range(50)})

    assert len(output.getvalue()) < 1_100


def test_what_the_message_says_already_is_not_repeated(output: io.StringIO) -> None:
    ours.warning("against plans: %s", "a_setting", extra={"setting": "a_setting"})

    assert output.getvalue() == "WARNING against plans: a_setting\n"


def test_records_of_others_stay_as_they_are(output: io.StringIO) -> None:
    theirs = logging.getLogger("executions_of_theirs")
    theirs.parent = logging.getLogger("execution")
    theirs.warning("paid", extra={"card": "4242"})

    assert output.getvalue() == "WARNING paid\n"


def test_the_record_itself_is_left_to_other_handlers(
    output: io.StringIO, caplog: pytest.LogCaptureFixture
) -> None:
    ours.warning("seen by %s", "all", extra={"execution_id": "e1"})

    assert output.getvalue() == "WARNING seen by all execution_id=e1\n"
    assert [record.message for record in caplog.records] == ["seen by all"]
