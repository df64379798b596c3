"""How far a delivery goes."""

import pytest

from execution.ride import RideLimits


@pytest.mark.parametrize(
    ("time_limit_seconds", "seconds"),
    [(None, 0.1), (300.0, 0.1), (1.0, 0.1), (0.5, 0.05)],
)
def test_a_ride_takes_a_tenth_of_celerys_time_limit_at_most(
    time_limit_seconds: float | None, seconds: float
) -> None:
    assert RideLimits().within(time_limit_seconds) == RideLimits(seconds=seconds)
