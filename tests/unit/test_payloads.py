"""The store of large values, in a folder and in the memory of fsspec."""

import hashlib
import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from execution.errors import (
    PayloadError,
    PayloadLostError,
    ResultError,
    SettingsError,
)
from execution.identity import draw_execution_id
from execution.large_values import REFERENCE_KEY, LargeValue, revive
from execution.payloads import MAX_PAYLOAD_BYTES, PayloadStore
from execution.results import MAX_VALUE_BYTES
from execution.settings import Settings
from tests.unit.test_public_names import modules_after

LARGE = {"rows": ["é" * 100] * 2_000, "n": [1, 2.5, None, True]}


@pytest.fixture(params=["folder", "file", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A place where nothing lies yet."""
    match request.param:
        case "folder":
            yield str(tmp_path / "not" / "yet")
        case "file":
            yield f"file://{tmp_path}/a [b]*"
        case _:
            yield f"memory://{uuid.uuid4().hex}"
    fsspec.filesystem("memory").store.clear()


@pytest.fixture
def store(url: str) -> PayloadStore:
    """A store there."""
    return PayloadStore(url, "plans")


def keep(store: PayloadStore, value: object, **names: Any) -> Any:
    """Keep the result of a step; return what is recorded of it."""
    given = {
        "execution_id": draw_execution_id(),
        "position": 7,
        "token": str(uuid.uuid4()),
        "place": "the result",
        **names,
    }
    return json.loads(store.keep(value, **given))


def reference_of(recorded: Any, store: PayloadStore) -> LargeValue:
    found = revive(recorded, store.read)
    assert isinstance(found, LargeValue)
    return found


def test_a_small_value_is_its_own_text(store: PayloadStore, tmp_path: Path) -> None:
    value = "x" * (MAX_VALUE_BYTES - 2)

    assert keep(store, value) == value
    assert list(tmp_path.iterdir()) == []


def test_a_large_value_is_written_and_read_as_it_was(store: PayloadStore) -> None:
    token, execution_id = str(uuid.uuid4()), draw_execution_id()

    recorded = keep(store, LARGE, token=token, execution_id=execution_id)

    content = json.dumps(LARGE, ensure_ascii=False, separators=(",", ":")).encode()
    assert recorded == {
        REFERENCE_KEY: {
            "path": f"plans/{execution_id}/7-{token}.json",
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
    }
    assert store.resolve({"x": [recorded, 1]}) == {"x": [LARGE, 1]}


def test_another_process_reads_it_from_the_same_place(
    store: PayloadStore, url: str
) -> None:
    recorded = keep(store, LARGE)

    assert PayloadStore(url, "elsewhere").resolve(recorded) == LARGE


def test_bytes_are_counted_and_not_characters(store: PayloadStore) -> None:
    assert REFERENCE_KEY in keep(store, "é" * (MAX_VALUE_BYTES // 2))


def test_what_goes_with_an_execution_is_its_own(store: PayloadStore) -> None:
    mine, others = draw_execution_id(), draw_execution_id()
    own = [keep(store, LARGE, execution_id=mine) for _ in range(2)]
    kept = keep(store, LARGE, execution_id=others)

    store.remove(mine)
    store.remove(mine)

    assert store.resolve(kept) == LARGE
    for recorded in own:
        with pytest.raises(PayloadLostError, match="PLANS_PAYLOADS"):
            store.resolve(recorded)


def test_there_is_nothing_to_remove_where_nothing_is(store: PayloadStore) -> None:
    store.remove(draw_execution_id())
    store.remove("../..")


def test_what_is_no_json_is_refused_before_it_is_written(
    store: PayloadStore,
) -> None:
    with pytest.raises(ResultError, match="which JSON cannot hold"):
        keep(store, [LARGE, object()])


def test_there_is_a_limit_to_it(
    store: PayloadStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MAX_PAYLOAD_BYTES == 268_435_456
    # a value of that size takes seconds
    monkeypatch.setattr("execution.payloads.MAX_PAYLOAD_BYTES", 300_000)

    with pytest.raises(ResultError, match="the limit is 300,000; store it elsewhere"):
        keep(store, LARGE)


@pytest.mark.parametrize("execution_id", ["..", "a/b", "", "*"])
def test_no_path_is_made_of_what_is_no_id(
    store: PayloadStore, execution_id: str
) -> None:
    with pytest.raises(ResultError, match="no path of ours"):
        keep(store, LARGE, execution_id=execution_id)


def test_no_other_path_is_read(store: PayloadStore) -> None:
    reference = LargeValue("../../etc/passwd", 1, "", store.read)

    with pytest.raises(PayloadLostError, match="no path of ours"):
        _ = reference.value


def test_what_was_altered_is_not_taken_for_what_was_written(tmp_path: Path) -> None:
    store = PayloadStore(str(tmp_path), "plans")
    reference = reference_of(keep(store, LARGE), store)
    (tmp_path / reference.path).write_text('"other"')

    with pytest.raises(PayloadLostError) as raised:
        store.read(reference)

    assert reference.path in str(raised.value)
    assert "it has 7 bytes, and 4" in str(raised.value)


def test_a_folder_of_ours_is_for_its_owner_alone(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)

    keep(PayloadStore(str(home / "payloads"), "plans"), LARGE)

    assert (home / "payloads").stat().st_mode & 0o777 == 0o700


def test_a_store_that_refuses_is_an_error_that_names_the_path(tmp_path: Path) -> None:
    (tmp_path / "plans").write_text("no folder")
    store = PayloadStore(str(tmp_path), "plans")
    execution_id = draw_execution_id()

    with pytest.raises(PayloadError) as raised:
        keep(store, LARGE, execution_id=execution_id)

    assert f"plans/{execution_id}/7-" in str(raised.value)
    assert "could not be written" in str(raised.value)
    assert not isinstance(raised.value, PayloadLostError)


def test_a_kind_of_store_that_there_is_not_is_found_before_it_is_needed() -> None:
    with pytest.raises(SettingsError, match="PLANS_PAYLOADS cannot be used"):
        PayloadStore("nowhere://x", "plans").check()
    for url in ("memory://x", "/folder", "simplecache::memory://x"):
        PayloadStore(url, "plans").check()


def test_by_default_it_is_a_folder_of_the_home(tmp_path: Path) -> None:
    store = PayloadStore.from_settings(Settings(home=tmp_path))

    recorded = keep(store, LARGE)

    path = recorded[REFERENCE_KEY]["path"]
    assert path.startswith("celery_plans/")
    assert (tmp_path / "payloads" / path).is_file()


def test_a_forked_process_opens_it_anew(tmp_path: Path) -> None:
    store = PayloadStore(f"file://{tmp_path}", "plans")
    recorded = keep(store, LARGE)
    child = os.fork()
    if child == 0:
        os._exit(0 if store.resolve(recorded) == LARGE else 1)

    assert os.waitpid(child, 0)[1] == 0


def test_fsspec_is_not_loaded_before_there_is_something_large() -> None:
    statement = (
        "from execution.payloads import PayloadStore\n"
        "store = PayloadStore('/nowhere', 'plans')\n"
        "store.check()\n"
        "store.remove('0190f3a4-0000-7000-8000-000000000000')\n"
        "store.keep(1, execution_id='e', position=0, token='t', place='x')\n"
    )

    assert "fsspec" not in modules_after(statement)
