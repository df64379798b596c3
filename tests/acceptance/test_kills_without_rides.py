"""What is killed where each step has a message of its own loses nothing either."""

from dataclasses import replace

import pytest

from execution.settings import Settings
from tests.acceptance.test_kills import (  # noqa: F401  # they run here again
    test_a_flushed_broker_loses_nothing,
    test_a_killed_worker_loses_nothing,
)


@pytest.fixture(scope="module")
def settings(settings: Settings) -> Settings:
    """The settings of a module, without riding."""
    return replace(settings, ride=False)
