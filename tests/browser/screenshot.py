"""Takes the picture of the tab that the documentation shows: `make screenshot`.

Promises: what is shown happened, on servers of its own, as the picture was taken.
"""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from execution import Plan, Step
from execution.engine import ExecutionEngine
from execution.installation import Installation
from execution.local import LocalStack
from execution.schema import upgrade
from execution.settings import Settings
from tests.browser.driving import browsing
from tests.conftest import remove_stack
from tests.flower_server import LOGIN, serving
from tests.worker_process import ROOT, WorkerProcess

PICTURE = ROOT / "docs" / "operations" / "executions_tab.png"
_MOST_BYTES = 200_000


@contextmanager
def running() -> Iterator[Settings]:
    """Run servers and a worker."""
    home = Path(tempfile.mkdtemp(prefix="plans-picture-"))
    with LocalStack.start(home) as stack:
        settings = Settings(
            database_url=stack.urls.database_url,
            broker_url=stack.urls.broker_url,
            redis_url=stack.urls.redis_url,
            imports=("tests.actions",),
            lease_seconds=5.0,
        )
        assert settings.database_url is not None
        upgrade(settings.database_url, settings.schema)
        with WorkerProcess.start(settings, slots=4):
            yield settings
    remove_stack(stack, home)


def hold(name: str, steps: str, gates: Path) -> Plan:
    """Return a plan whose steps, one after the other, end when their gate is there."""
    ledger = str(gates / "ledger")
    return Plan(
        name,
        steps=[
            Step(
                each,
                action="test.hold",
                with_={"gate": str(gates / each), "ledger": ledger},
            )
            for each in steps.split()
        ],
    )


def fill(engine: ExecutionEngine, gates: Path) -> str:
    """Begin executions of every kind; return the one to show."""
    for gate in ("extract", "clean", "invoice"):
        (gates / gate).touch()
    refused = Plan("import-customers", steps=[Step("fetch", action="test.refuse")])
    quick = [Step(each, action="test.nothing") for each in ("collect", "write")]
    ended = [
        engine.submit(Plan("daily-report", steps=quick), tags=["reports"]),
        engine.submit(refused, tags=["customers"]),
        engine.submit(Plan("daily-report", steps=quick), tags=["reports"]),
    ]
    for each in ended:
        engine.wait(each, timeout_seconds=60)
    paused = engine.submit(hold("send-invoices", "invoice pack send", gates))
    shown = engine.submit(
        hold("nightly-load", "extract clean load check publish", gates),
        tags=["warehouse"],
    )
    engine.pause(paused, by="ann", reason="the bank is down")
    return shown


def main() -> None:
    """Take the picture, and store it."""
    with (
        tempfile.TemporaryDirectory(prefix="plans-gates-") as folder,
        running() as settings,
        ExecutionEngine(Installation(settings, None)) as engine,
        serving(settings) as server,
        browsing(1200, 860) as browser,
    ):
        gates = Path(folder)
        shown = fill(engine, gates)
        browser.go(server.url.replace("//", f"//{':'.join(LOGIN)}@") + "/workers")
        browser.go(f"{server.url}/executions")
        browser.await_text(f'[data-execution="{shown}"]', "40 %, 2 of 5")
        browser.await_text("[data-live-word]", "Live")
        picture = browser.take_picture()
        for gate in ("load", "check", "publish", "pack", "send"):
            (gates / gate).touch()
    if len(picture) > _MOST_BYTES:
        sys.exit(f"the picture has {len(picture):,} bytes, which is too much")
    PICTURE.write_bytes(picture)
    sys.stdout.write(f"{PICTURE.relative_to(ROOT)}: {len(picture):,} bytes\n")


if __name__ == "__main__":
    main()
