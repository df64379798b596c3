"""The Django project of the examples: its views, its command and its worker."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import psycopg2
import pytest

from execution import ExecutionEngine, Plan, Settings, Step
from tests.polling import wait_until
from tests.timeline import check_timeline
from tests.worker_process import ROOT, WorkerProcess, build_environment

PROJECT = ROOT / "examples" / "django_project"


@pytest.fixture(scope="module")
def shop_settings(settings: Settings) -> Settings:
    """Settings of a worker that has the actions of the project, and some of ours."""
    return replace(settings, imports=("orders.actions", "tests.django_host.actions"))


@pytest.fixture(scope="module")
def environment(shop_settings: Settings) -> dict[str, str]:
    """What the project reads: its database is that of the tests."""
    assert shop_settings.database_url is not None
    parts = psycopg2.extensions.parse_dsn(
        shop_settings.database_url.replace("+psycopg2", "")
    )
    return {
        **build_environment(shop_settings),
        "SHOP_DATABASE": parts["dbname"],
        "SHOP_DATABASE_USER": parts["user"],
        "SHOP_DATABASE_HOST": parts["host"],
        "SHOP_BROKER_URL": shop_settings.broker_url or "",
        "DJANGO_SETTINGS_MODULE": "shop.settings",
        "PYTHONPATH": f"{PROJECT}:{ROOT}",
    }


def manage(environment: dict[str, str], *arguments: str) -> str:
    """Run a command of the project and return what it prints."""
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module", autouse=True)
def _tables(environment: dict[str, str]) -> None:
    manage(environment, "migrate", "--verbosity=0")


@pytest.fixture(scope="module", autouse=True)
def worker(
    shop_settings: Settings, environment: dict[str, str], _tables: None
) -> Iterator[WorkerProcess]:
    """A worker of the project's Celery app."""
    with WorkerProcess.start(
        shop_settings, slots=1, app="shop", environment=environment
    ) as started:
        yield started


@pytest.fixture(scope="module")
def shop(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    """The project behind Django's own server."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path_factory.mktemp("shop") / "server.log"
    # its engine reads the settings of Django alone
    variables = {k: v for k, v in environment.items() if k != "PLANS_DATABASE_URL"}
    with log.open("wb") as output:
        server = subprocess.Popen(
            [sys.executable, "manage.py", "runserver", "--noreload", str(port)],
            cwd=PROJECT,
            env=variables,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)

    def answers() -> bool:
        assert server.poll() is None, log.read_text()
        try:
            return client.get("/orders/0/").status_code == 404
        except httpx.ConnectError:
            return False

    try:
        wait_until(answers, what="the server to answer", timeout_seconds=60)
        yield client
    finally:
        client.close()
        server.terminate()
        server.wait(60)


def count_orders(settings: Settings, article: str) -> int:
    """Return how many orders there are of an article."""
    assert settings.database_url is not None
    connection = psycopg2.connect(settings.database_url.replace("+psycopg2", ""))
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM orders_order WHERE article = %s", (article,)
        )
        ((counted,),) = cursor.fetchall()
    connection.close()
    return int(counted)


def test_an_order_and_its_execution_begin_with_the_view(
    shop: httpx.Client, engine: ExecutionEngine
) -> None:
    answer = shop.post("/orders/", data={"article": "tea", "address": "here"})

    assert answer.status_code == 200, answer.text
    placed = answer.json()
    result = engine.wait(placed["execution"], timeout_seconds=60)
    number = placed["order"]
    assert result.unwrap() == {"parcel": f"parcel-{number}", "status": "sent"}
    assert shop.get(f"/orders/{number}/").json() == {
        "status": "sent",
        "execution": "completed",
    }
    check_timeline(engine, placed["execution"])


def test_a_view_that_is_rolled_back_leaves_neither(
    shop: httpx.Client, engine: ExecutionEngine, settings: Settings
) -> None:
    before = engine.count_executions()

    answer = shop.post("/orders/", data={"article": "coffee"})

    assert answer.status_code == 400
    assert count_orders(settings, "coffee") == 0
    assert engine.count_executions() == before


def test_the_command_places_an_order_and_tells_of_it(
    environment: dict[str, str],
) -> None:
    number = manage(environment, "order", "cake").strip()

    def is_sent() -> bool:
        told = manage(environment, "order", "--status", number)
        return told == "sent, completed\n"

    wait_until(is_sent, what="the order to be sent", timeout_seconds=60)


# with a message for each step, Celery's own care for Django comes in between
@pytest.mark.rides
def test_a_connection_that_is_cut_between_two_steps_fails_neither(
    engine: ExecutionEngine,
) -> None:
    steps = [
        Step("lose", action="django.ask_and_lose"),
        Step("ask", action="django.ask"),
        Step("again", action="django.ask"),
    ]
    names = ("lose", "ask", "again")
    result_of = {name: f"${{steps.{name}.result}}" for name in names}

    result = engine.execute(
        Plan("cut", steps=steps, result=result_of), timeout_seconds=60
    )

    answers: dict[str, Any] = result.unwrap()
    assert answers["lose"]["session"] != answers["ask"]["session"]
    # one that works is kept from step to step
    assert answers["ask"] == answers["again"]
    assert answers["lose"]["process"] == answers["ask"]["process"]
