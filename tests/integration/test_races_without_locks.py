"""The races see what they are for: without its lock, each function goes wrong.

The functions are installed anew from the text of this release with the lock of the
execution's row taken out of one of them. What the guards and keys of the tables refuse
then counts as seen: with the lock, nothing has to be refused.
"""

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest

from execution import Settings
from execution.schema import upgrade
from execution.sql import read_functions
from tests.integration.test_races import (
    race_cancel,
    race_claims,
    race_finishes,
    race_needs,
    race_pause,
)
from tests.integration.test_races_of_acts import race_pause_with_a_ride, race_resumes
from tests.integration.test_races_of_reconcilers import (
    race_late_completion,
    race_reconcilers,
)
from tests.racing import Arena, Race, arena_of, count_wrong_rounds
from tests.rows import committed

ROUNDS = 40
LOCK = re.compile(r"\s+FOR NO KEY UPDATE(\s+SKIP LOCKED)?")


@pytest.fixture
def arena(settings: Settings, function: str, race: Race) -> Iterator[Arena]:
    """An arena in a schema of the test's own: what it breaks stays broken."""
    schema = f"{function}_{race.__name__}"
    upgrade(str(settings.database_url), schema)
    with arena_of(replace(settings, schema=schema)) as opened:
        yield opened


def remove_lock(settings: Settings, function: str) -> None:
    """Install a function anew without the lock of the execution's row."""
    found = re.search(
        rf"CREATE (FUNCTION {function}\(.*?\nEND \$\$;)", read_functions(), re.DOTALL
    )
    assert found is not None, function
    unlocked, locks = LOCK.subn("", found[1])
    assert locks, f"{function} takes no lock"
    with committed(str(settings.database_url), settings.schema) as cursor:
        cursor.execute(f"CREATE OR REPLACE {unlocked}")


@pytest.mark.parametrize(
    ("function", "race"),
    [
        ("claim_step", race_claims),
        ("claim_step", race_pause),
        ("complete_step", race_needs),
        ("complete_step", race_cancel),
        ("pause_execution", race_pause),
        ("complete_step", race_pause_with_a_ride),
        ("resume_execution", race_resumes),
        ("cancel_execution", race_cancel),
        ("finish_execution", race_finishes),
        ("take_step", race_late_completion),
        ("resend_step", race_reconcilers),
    ],
)
def test_a_race_catches_a_missing_lock(arena: Arena, function: str, race: Race) -> None:
    assert count_wrong_rounds(race, arena, 3) == 0

    remove_lock(arena.settings, function)

    assert any(count_wrong_rounds(race, arena, 1) for _ in range(ROUNDS))
