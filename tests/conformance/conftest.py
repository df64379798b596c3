"""What rows of rules are played with."""

import pytest

from execution import ExecutionEngine, Settings
from execution.database import Database
from execution.repository import ExecutionRepository
from tests.conformance.rows import Theatre


@pytest.fixture
def theatre(
    engine: ExecutionEngine,
    settings: Settings,
    database: Database,
    repository: ExecutionRepository,
) -> Theatre:
    """What rows are played with."""
    return Theatre(engine, settings, database, repository)
