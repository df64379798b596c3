"""Plans run from end to end where each step has a message of its own."""

from dataclasses import replace

import pytest

from execution.settings import Settings
from tests.acceptance.test_run import *  # noqa: F403  # all of them, with these settings


@pytest.fixture(scope="module")
def settings(settings: Settings) -> Settings:
    """The settings of a module, without riding."""
    return replace(settings, ride=False)
