"""What rows of rules are played with."""

from dataclasses import replace

import pytest

from execution import ExecutionEngine, Settings
from execution.database import Database
from execution.repository import ExecutionRepository
from tests.conformance.rows import Theatre


@pytest.fixture(scope="module")
def settings(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings with a store of large values that goes with the tests."""
    return replace(settings, payloads=str(tmp_path_factory.mktemp("payloads")))


@pytest.fixture
def theatre(
    engine: ExecutionEngine,
    settings: Settings,
    database: Database,
    repository: ExecutionRepository,
) -> Theatre:
    """What rows are played with."""
    return Theatre(engine, settings, database, repository)
