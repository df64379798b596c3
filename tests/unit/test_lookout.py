"""The look of all who wait in an event loop, where the database answers strangely."""

import asyncio
from collections.abc import Collection, Mapping

import pytest

from execution.database import DatabaseUnavailableError
from execution.errors import DatabaseError
from execution.lookout import Lookout
from execution.results import Headway

pytestmark = pytest.mark.anyio


async def test_a_database_that_refuses_has_answered() -> None:
    answers: list[Exception] = [
        DatabaseUnavailableError("PostgreSQL is not available: it starts"),
        DatabaseError("PostgreSQL refused: permission denied"),
    ]

    async def find(_: Collection[str]) -> Mapping[str, Headway]:
        raise answers.pop(0)

    lookout = Lookout(find, None, "i1")
    lookout.open()
    try:
        async with asyncio.timeout(5):
            await lookout.wait_for_database()
    finally:
        await lookout.close()

    assert not answers
