"""The how-to pages and others that share servers, each followed from the top down."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from execution import Settings
from execution.schema import upgrade
from tests.pages import Block, Reader, list_sharing, read_page, without_measurement
from tests.worker_process import ROOT, WorkerProcess

PAGES = list_sharing()
SHOWN = {
    "docs/asyncio.md": ("ask_service.py", "in_background.py"),
    "docs/logs.md": ("counting.py", "show_lines.py"),
}
"""Pages whose code has no file's name there, and which it has here."""
LINES = """
from execution import ExecutionEngine, Plan
from show_lines import show
step = {"id": "count", "action": "greet.count", "with": {"name": "Ann"}}
plan = Plan.from_mapping({"format": 1, "name": "counted", "steps": [step]})
with ExecutionEngine.connect() as engine:
    execution_id = engine.submit(plan)
    engine.wait(execution_id, timeout_seconds=60)
    show(engine, execution_id)
"""
MARKS = ("@action", "@shared_task")
DJANGO = """
import json, os, sqlalchemy as sa
from django.conf import settings
url = sa.make_url(os.environ["PLANS_DATABASE_URL"])
settings.configure(DATABASES={"default": {
    "ENGINE": "django.db.backends.postgresql",
    "NAME": url.database, "USER": url.username, "HOST": url.query["host"],
}})
from orders import place_order
from sessions import place_order as place_in_session
from execution import ExecutionEngine
from sqlalchemy.orm import Session
database = sa.create_engine(url)
with database.begin() as connection:
    connection.exec_driver_sql("DROP TABLE IF EXISTS orders")
    connection.exec_driver_sql("CREATE TABLE orders (number int)")
with ExecutionEngine.connect() as engine, Session(database) as session:
    ids = [place_order(1), place_in_session(engine, session, 2)]
    print(json.dumps([engine.wait(i, timeout_seconds=60).unwrap() for i in ids]))
"""


@pytest.fixture(scope="module")
def settings(settings: Settings) -> Settings:
    """Settings with the schema that the pages name."""
    assert settings.database_url is not None
    named = replace(settings, schema="celery_plans")
    upgrade(settings.database_url, named.schema)
    return named


@pytest.fixture(scope="module")
def reader(
    settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Reader]:
    """Who has made the files of all pages, and runs one worker that imports them."""
    folder = tmp_path_factory.mktemp("howto")
    reader = Reader(folder, os.environ)
    files = [block for page in PAGES for block in read_page(page) if block.file]
    files += _name_blocks()
    for block in files:
        reader.write(block)
    assert len({block.file for block in files}) == len(files)
    names = [
        str(block.file).removesuffix(".py")
        for block in files
        if any(mark in block.text for mark in MARKS)
    ]
    variables = {
        "PLANS_IMPORTS": ",".join(names),
        "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}",
        "PLANS_SECRET_MAIL_TOKEN": "as long as a token"[:17],
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "120",
    }
    with WorkerProcess.start(
        settings, environment=variables, directory=folder
    ) as worker:
        reader.environment = without_measurement(worker.environment)
        yield reader
        reader.close()


def _name_blocks() -> Iterator[Block]:
    """Yield what other pages show without a file's name, with one."""
    for page, names in SHOWN.items():
        blocks = [block for block in read_page(page) if block.language == "python"]
        for name, block in zip(names, blocks, strict=True):
            yield replace(block, file=name)
    yield from (b for b in read_page("README.md") if b.file and b.file != "greet.py")


def run_script(reader: Reader, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=reader.folder,
        env=reader.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# each command is a process, which takes long to start where much else runs
@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_true_to_its_last_line(page: str, reader: Reader) -> None:
    reader.follow(page)


def test_the_shown_orders_begin_with_their_rows(reader: Reader) -> None:
    told = run_script(reader, "-c", DJANGO)

    assert json.loads(told) == ["order 1 is packed", "order 2 is packed"]


def test_the_shown_service_and_its_background_run(reader: Reader) -> None:
    assert run_script(reader, "ask_service.py").endswith("completed\nHELLO, ANN!\n")
    assert run_script(reader, "in_background.py") == "completed 1\n"


def test_the_shown_lines_are_stored(reader: Reader) -> None:
    told = run_script(reader, "-c", LINES).splitlines()

    assert told[0].startswith("2 count 1 warning")
    assert [line.split(" ", 2)[-1] for line in told[1:4]] == [
        "counting Ann",
        "a long name",
        "counted",
    ]
    assert told[4:] == ["count letters 3.0"]
