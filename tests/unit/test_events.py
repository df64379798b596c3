"""The catalogue of events, and hints that come from anybody."""

import json
import re
import time
from pathlib import Path

import pytest

from execution import events
from execution.errors import SettingsError
from execution.events import (
    EVENT_TYPES,
    EventSubscription,
    ExecutionEventEmitter,
    Hint,
    name_channel,
    read_hint,
)
from execution.sql import read_functions

_ROW = re.compile(r"^ {4}([a-z_]+)\.([a-z_|]+) +\S")


def documented() -> list[str]:
    """Return every type that the docstring's table names."""
    rows = [_ROW.match(line) for line in (events.__doc__ or "").splitlines()]
    return [
        f"{row[1]}.{name}"
        for row in rows
        if row is not None
        for name in row[2].split("|")
    ]


def test_the_catalogue_is_the_documented_table() -> None:
    assert sorted(documented()) == sorted(EVENT_TYPES)


def test_the_database_writes_no_event_outside_the_catalogue() -> None:
    written = set(re.findall(r"'((?:execution|step)\.[a-z_]+)'", read_functions()))

    assert written
    assert written <= EVENT_TYPES


@pytest.mark.parametrize(
    ("execution_id", "channel"),
    [(None, "plans:i1:events"), ("e1", "plans:i1:events:e1")],
)
def test_channels_are_named_after_their_installation(
    execution_id: str | None, channel: str
) -> None:
    assert name_channel("i1", execution_id) == channel


@pytest.mark.parametrize(
    ("data", "hint"),
    [
        (b'{"execution_id": "e1", "seq": 7}', Hint("e1", 7)),
        (b'{"execution_id": "e1", "seq": "7", "new": 1}', Hint("e1", 7)),
    ],
)
def test_a_hint_is_read(data: bytes, hint: Hint) -> None:
    assert read_hint(data) == hint


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        b"\xff\xfe\x00",
        b"null",
        b"7",
        b'"text"',
        b"[]",
        b'["execution_id", "seq"]',
        b"{}",
        b'{"execution_id": "e1"}',
        b'{"seq": 7}',
        b'{"execution_id": "e1", "seq": null}',
        b'{"execution_id": "e1", "seq": "many"}',
        b'{"execution_id": "e1", "seq": [7]}',
        b'{"execution_id": "e1", "seq": NaN}',
        b'{"execution_id": "e1", "seq": 1e999}',
        b'{"execution_id": "e1", "seq": -Infinity}',
        b'{"execution_id": "e1", "seq": ' + b"9" * 5_000 + b"}",
        b"[" * 100_000,
    ],
    ids=lambda data: str(data[:40]),
)
def test_junk_is_no_hint(data: bytes) -> None:
    assert read_hint(data) is None


def test_an_emitter_without_redis_drops_every_hint() -> None:
    ExecutionEventEmitter(None, "i1").emit("e1", 7)


def test_a_subscription_without_redis_waits_its_time() -> None:
    listener = EventSubscription(None, "i1")
    begin = time.monotonic()

    hint = listener.wait(0.05)

    assert hint is None
    assert time.monotonic() - begin >= 0.05


def test_a_subscription_that_was_never_opened_can_be_closed(tmp_path: Path) -> None:
    EventSubscription(f"unix://{tmp_path}/none.sock", "i1").close()


def test_what_is_sent_can_be_read() -> None:
    body = json.dumps({"execution_id": "e1", "seq": 7}).encode()

    assert read_hint(body) == Hint("e1", 7)


@pytest.mark.parametrize("rest", ["s3cret/x@redis:6379/0", "s3cret@redis:port/0"])
def test_a_malformed_url_is_refused_without_a_word_of_the_password(rest: str) -> None:
    with pytest.raises(SettingsError, match=r"PLANS_REDIS_URL.* malformed") as info:
        ExecutionEventEmitter(f"redis://:{rest}", "i1")

    assert "s3cret" not in str(info.value)
    assert info.value.__cause__ is None
