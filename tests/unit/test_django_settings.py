"""The settings of plans in a Django project."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from execution.django import build_database_url
from execution.errors import SettingsError
from tests.worker_process import ROOT

POSTGRESQL = {"ENGINE": "django.db.backends.postgresql", "NAME": "shop"}


@pytest.mark.parametrize(
    ("database", "url"),
    [
        ({}, "postgresql:///shop"),
        ({"USER": "ann", "HOST": "db"}, "postgresql://ann@db/shop"),
        (
            {"USER": "ann", "PASSWORD": "a:b/c@", "HOST": "db", "PORT": 5433},
            "postgresql://ann:a%3Ab%2Fc%40@db:5433/shop",
        ),
        (
            {"USER": "ann", "HOST": "/run/postgres"},
            "postgresql://ann@/shop?host=%2Frun%2Fpostgres",
        ),
        (
            {"HOST": "db", "OPTIONS": {"sslmode": "require", "pool": True}},
            "postgresql://db/shop?sslmode=require",
        ),
        (
            {"ENGINE": "django.contrib.gis.db.backends.postgis", "HOST": "db"},
            "postgresql://db/shop",
        ),
    ],
)
def test_an_entry_of_databases_is_a_url(database: dict[str, Any], url: str) -> None:
    assert build_database_url({**POSTGRESQL, **database}, "default") == url


@pytest.mark.parametrize("engine", ["django.db.backends.sqlite3", None])
def test_another_database_is_refused(engine: str | None) -> None:
    with pytest.raises(SettingsError, match="is not PostgreSQL, but"):
        build_database_url({"ENGINE": engine or ""}, "default")


def read(settings: str, **environment: str) -> str:
    """Return what a process makes of Django's settings and its environment."""
    database = {"default": {**POSTGRESQL, "HOST": "localhost"}}
    code = (
        "from django.conf import settings\n"
        f"settings.configure(DATABASES={database}, {settings})\n"
        "from execution.django import read_settings\n"
        "read = read_settings()\n"
        "print(read.database_url, read.queue, read.imports, read.ride,"
        " read.secrets_dir)"
    )
    ours = {k: v for k, v in os.environ.items() if not k.startswith("PLANS_")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**ours, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_settings_of_django_are_those_of_plans() -> None:
    said = (
        "PLANS_QUEUE='shop', PLANS_IMPORTS=['a', 'b'], PLANS_RIDE=False,"
        " PLANS_SECRETS_DIR=None"
    )

    assert read(said) == "postgresql://localhost/shop shop ('a', 'b') False None"


def test_the_environment_goes_first() -> None:
    answer = read(
        "PLANS_QUEUE='shop'", PLANS_QUEUE="mine", PLANS_DATABASE_URL="postgresql:///own"
    )

    assert answer == "postgresql:///own mine () True None"


def test_a_file_of_the_environment_goes_before_what_django_says(tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text("postgresql:///filed")

    answer = read(
        "PLANS_DATABASE_URL='postgresql:///django'", PLANS_DATABASE_URL_FILE=str(file)
    )

    assert answer.startswith("postgresql:///filed ")
