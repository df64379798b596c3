"""Pages about servers that fall over, followed while executions are under way."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from psycopg2 import errors

from execution import ExecutionEngine, Plan, Step
from execution.database import DatabaseUnavailableError
from execution.errors import ExecutionNotFoundError
from execution.installation import Installation
from tests.backups import back_up
from tests.load import STEPS, under_load
from tests.outages import read_lines, work_plan
from tests.pages import RUNBOOKS, Happening, read_page
from tests.polling import wait_until
from tests.rows import committed
from tests.site import Site, open_site
from tests.worker_process import ROOT

SCALE = "docs/operations/scale.md"


def read(page: str) -> str:
    return (ROOT / page).read_text("utf-8")


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A site with what the pages bring along."""
    with open_site("docs/operations.md", *RUNBOOKS) as opened:
        yield opened


@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", RUNBOOKS)
def test_a_page_is_followed_under_load_and_nothing_is_lost(
    page: str, site: Site, ledger: Path
) -> None:
    with under_load(site.engine, ledger) as load:
        during: dict[str, Happening] = {
            "away": site.without_postgres,
            "flushed": partial(site.with_flushed_redis, load),
            "restarted": site.with_new_workers,
            "worker": site.with_rights_of_a_worker,
        }
        site.reader.follow(page, during)

    assert load.execution_ids
    assert {type(error) for error in load.refusals} <= {DatabaseUnavailableError}
    for worker in site.workers:
        assert "registering anew" not in worker.log.read_text()


def test_a_worker_holds_no_more_connections_than_the_page_says(
    site: Site, ledger: Path
) -> None:
    assert "one for each slot, and three more" in read(SCALE)

    with under_load(site.engine, ledger) as load:
        wait_until(lambda: len(read_lines(ledger)) > STEPS, what="every slot to work")
        slots = [worker.slots for worker in site.engine.list_workers()]
        held = count_connections(site)

    assert load.execution_ids
    assert slots == [1, 1]
    assert 2 * len(slots) <= held <= sum(slots) + 3 * len(slots)


def count_connections(site: Site) -> int:
    """Return how many connections to PostgreSQL the workers have."""
    url = str(site.settings.database_url)
    with committed(url, site.settings.schema) as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE usename LIKE 'plans_worker_%'"
        )
        return int(cursor.fetchall()[0][0])


def test_a_url_of_two_hosts_leads_to_the_one_that_can_be_written(site: Site) -> None:
    url = (site.home / "secrets" / "worker_database_url").read_text()
    port = urlsplit(url).port
    two = f"host=127.0.0.1,127.0.0.1&port=1,{port}&target_session_attrs=read-write"
    assert "port=5432,5432&target_session_attrs=read-write" in read(
        "docs/operations/postgres_restart.md"
    )
    settings = replace(site.settings, database_url=f"postgresql://plans@/plans?{two}")

    with ExecutionEngine(Installation(settings, None)) as engine:
        result = engine.execute(
            Plan("found", steps=[Step("one", action="test.nothing")]),
            timeout_seconds=60,
        )
        assert result.is_success
        assert engine.get_status(result.execution_id).plan == "found"


def test_what_a_restored_backup_lacks_is_submitted_again(
    site: Site, ledger: Path
) -> None:
    plan = work_plan(ledger, steps=STEPS)
    restore = back_up(site.settings)
    lost = site.engine.submit(plan, idempotency_key="lost")
    assert site.engine.wait(lost, timeout_seconds=60).is_success
    wait_until(lambda: has_done(restore), what="a moment for the restore")

    with pytest.raises(ExecutionNotFoundError):
        site.engine.get_status(lost)
    again = site.engine.submit(plan, idempotency_key="lost")

    assert site.engine.wait(again, timeout_seconds=60).is_success
    assert again != lost
    assert all(worker.process.poll() is None for worker in site.workers)


def has_done(restore: Callable[[], None]) -> bool:
    """Restore, unless one of those who work meanwhile gets in the way."""
    try:
        restore()
    except errors.DeadlockDetected:
        return False
    return True


@pytest.mark.parametrize("page", [*RUNBOOKS, "docs/privileges.md"])
def test_no_password_of_an_admin_is_an_argument(page: str) -> None:
    text = "".join(block.text for block in read_page(page) if block.language == "sh")
    asked = re.findall(r"^ *(?:psql|redis-cli) .+$", text, re.MULTILINE)

    # the one names a service; the other a server, with the password in a variable
    assert [line for line in asked if "DATABASE_URL" in line] == []
    assert [
        line
        for line in asked
        if line.lstrip().startswith("redis-cli") and "--user admin" not in line
    ] == []


def test_the_shown_scale_of_the_compose_file_is_that_of_the_file() -> None:
    shown = re.search(r"`docker compose (.+?) (--scale (\w+)=\d)`", read(SCALE))
    assert shown is not None
    assert f"  {shown[3]}:\n" in read("docker-compose.yml")
