"""Which servers a program gets: its own, or the local stack where it was asked for."""

from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from execution import ExecutionEngine, Settings
from execution.database import Database
from execution.errors import SchemaMismatchError, SettingsError
from execution.installation import open_installation
from execution.local import LocalStack


def test_without_urls_nothing_is_started_and_the_error_says_what_to_set(
    tmp_path: Path,
) -> None:
    settings = Settings(home=tmp_path / "home")

    with pytest.raises(SettingsError, match="PLANS_DATABASE_URL and PLANS_BROKER_URL"):
        ExecutionEngine.connect(settings)

    assert not (tmp_path / "home").exists()


def test_a_url_replaces_one_server_of_the_local_stack(
    stack: LocalStack, tmp_path: Path
) -> None:
    settings = Settings(
        local=True, home=tmp_path / "home", database_url=stack.urls.database_url
    )

    installation = open_installation(settings)

    try:
        assert installation.settings.database_url == stack.urls.database_url
        assert installation.settings.broker_url != stack.urls.broker_url
        assert str(tmp_path / "home") in str(installation.settings.redis_url)
    finally:
        installation.close()


def test_with_every_url_the_local_stack_stays_down(
    stack: LocalStack, settings: Settings, tmp_path: Path
) -> None:
    complete = replace(settings, local=True, home=tmp_path / "home")

    installation = open_installation(complete)

    assert installation.stack is None
    assert not (tmp_path / "home").exists()


def test_a_users_database_is_never_migrated_silently(
    stack: LocalStack, settings: Settings
) -> None:
    untouched = replace(settings, schema="untouched")

    with pytest.raises(SchemaMismatchError, match="plans db upgrade"):
        ExecutionEngine.connect(untouched)

    assert untouched.database_url is not None
    inspector = sa.inspect(
        sa.create_engine(untouched.database_url, poolclass=sa.NullPool)
    )
    assert "untouched" not in inspector.get_schema_names()


def test_the_local_stack_brings_its_own_database_up_to_date(tmp_path: Path) -> None:
    installation = open_installation(Settings(local=True, home=tmp_path / "home"))

    try:
        settings = installation.settings
        assert settings.database_url is not None
        database = Database(settings.database_url, settings.schema)
        assert database.check()
        database.close()
    finally:
        installation.close()
