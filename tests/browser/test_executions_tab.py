"""The tab of executions in a real browser: it is followed live, and acted on."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from execution import ExecutionStatus, Plan, Step
from execution.engine import ExecutionEngine
from execution.flower import reading
from execution.settings import Settings
from tests.browser.driving import Browser, browsing
from tests.flower_server import LOGIN, FlowerServer, serving
from tests.worker_process import WorkerProcess

STEPS = ("fetch", "load", "report")
REFUSED = Plan("refused", steps=[Step("only", action="test.refuse")])


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as opened:
        yield opened


@pytest.fixture(scope="module")
def server(
    browser: Browser, settings: Settings, shared_worker: WorkerProcess
) -> Iterator[FlowerServer]:
    """A Flower at which the browser has logged in; a worker runs."""
    assert shared_worker.process.poll() is None
    with serving(settings) as started:
        browser.go(started.url.replace("//", f"//{':'.join(LOGIN)}@") + "/workers")
        yield started


@pytest.fixture
def page(browser: Browser, server: FlowerServer) -> Iterator[Browser]:
    """The browser; in the end it must have had nothing to complain about."""
    browser.list_complaints()
    yield browser
    assert browser.list_complaints() == []


def hold(gates: Path) -> Plan:
    """Return a plan whose steps, one after the other, end when their gate is there."""
    ledger = str(gates / "ledger")
    steps = [
        Step(
            name,
            action="test.hold",
            with_={"gate": str(gates / name), "ledger": ledger},
        )
        for name in STEPS
    ]
    return Plan("nightly", steps=steps)


def test_an_execution_is_followed_without_loading_a_page_again(
    page: Browser, server: FlowerServer, engine: ExecutionEngine, tmp_path: Path
) -> None:
    page.go(f"{server.url}/workers")
    page.click('a[href="/executions"]')
    page.await_text("[data-live-word]", "Live")
    page.run("window.loaded = 'once'")

    execution_id = engine.submit(hold(tmp_path))
    row = f'[data-execution="{execution_id}"]'
    page.await_text(row, "running")
    (tmp_path / "fetch").touch()
    page.await_text(row, "33.3 %, 1 of 3")
    assert page.run("return window.loaded") == "once"

    page.click(f"{row} a")
    page.await_text("[data-live-word]", "Live")
    page.run("window.loaded = 'once'")
    (tmp_path / "load").touch()
    page.await_text("#percent", "66.7 %")
    page.await_text('[data-step="load"]', "completed")
    (tmp_path / "report").touch()
    page.await_text("#status", "completed")
    page.await_text("[data-timeline]", "execution.completed")
    assert page.run("return window.loaded") == "once"


def test_an_execution_is_paused_resumed_and_cancelled(
    page: Browser, server: FlowerServer, engine: ExecutionEngine, tmp_path: Path
) -> None:
    execution_id = engine.submit(hold(tmp_path))
    page.go(f"{server.url}/executions/{execution_id}")
    page.await_text("#status", "running")

    page.write("#reason", "the bank is down")
    page.click("#act-pause")
    page.await_text("#status", "paused")
    page.await_text("[data-timeline]", "ann the bank is down")

    page.click("#act-resume")
    page.await_text("#status", "running")

    page.write("#reason", "sent twice")
    page.click("#act-cancel")
    page.await_text("[data-timeline]", "ann cancel; sent twice")
    (tmp_path / "fetch").touch()
    page.await_text("#status", "cancelled")
    assert engine.get_status(execution_id).status is ExecutionStatus.CANCELLED


def test_events_that_a_live_timeline_drops_are_where_its_link_leads(
    page: Browser,
    server: FlowerServer,
    engine: ExecutionEngine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reading, "MOST_EVENTS", 5)
    execution_id = engine.submit(REFUSED, at=datetime.now(UTC) + timedelta(days=1))
    page.go(f"{server.url}/executions/{execution_id}")
    assert page.run("return document.querySelector('[data-older]').hidden")

    for _ in range(3):
        engine.pause(execution_id)
        engine.resume(execution_id)
    last = engine.get_status(execution_id).last_seq
    page.find(f"#event-{last}")
    shown = list_numbers(page)
    page.find("[data-older]:not([hidden])")
    page.go(page.run("return document.querySelector('[data-older]').href"))

    older = list_numbers(page)
    assert len(shown) == 5
    assert [*shown, *older] == [*range(last, last - len(shown) - len(older), -1)]
    assert older


def list_numbers(page: Browser) -> list[int]:
    """Return the numbers of the events in a timeline, as they stand."""
    numbers = page.run(
        "return [...document.querySelectorAll('tr[id^=event]')]"
        ".map((row) => row.cells[0].textContent)"
    )
    return [int(number) for number in numbers]


class Replacing(Browser):
    """One in which the page replaces the first element that is found."""

    has_replaced = False

    def find(self, selector: str) -> str:
        """Return an element that is on the page no more, the first time."""
        found = super().find(selector)
        if not self.has_replaced:
            self.has_replaced = True
            self.run(
                "const one = document.querySelector(arguments[0]);"
                "one.replaceWith(one.cloneNode(true));",
                selector,
            )
        return found


def test_an_element_that_is_replaced_before_its_click_is_clicked_all_the_same(
    page: Browser, server: FlowerServer
) -> None:
    page.go(f"{server.url}/workers")

    Replacing(page._client, page._session).click('a[href="/executions"]')

    page.find("#filter-plan")


def test_a_failed_execution_is_retried(
    page: Browser, server: FlowerServer, engine: ExecutionEngine
) -> None:
    execution_id = engine.submit(REFUSED)
    engine.wait(execution_id, timeout_seconds=60)

    page.go(f"{server.url}/executions/{execution_id}")
    page.await_text("#status", "failed")
    page.write("#reason", "the customer is known now")
    page.click("#act-retry")

    page.await_text("[data-timeline]", "ann the customer is known now")
    engine.wait(execution_id, timeout_seconds=60)
    page.await_text("#status", "failed")
    assert page.read("[data-timeline]").count("execution.retried") == 1


def test_the_enter_key_in_the_field_for_a_reason_does_nothing(
    page: Browser, server: FlowerServer, engine: ExecutionEngine, tmp_path: Path
) -> None:
    execution_id = engine.submit(hold(tmp_path))
    page.go(f"{server.url}/executions/{execution_id}")
    page.await_text("#status", "running")

    page.write("#reason", "a reason\n")

    page.await_text("[data-live-word]", "Live")
    assert page.read("#status") == "running"
    assert page.run("return location.pathname") == f"/executions/{execution_id}"
    for name in STEPS:
        (tmp_path / name).touch()
    page.await_text("#status", "completed")
