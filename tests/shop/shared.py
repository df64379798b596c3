"""Tasks of a library, which belong to whichever app there is."""

from celery import shared_task


@shared_task(name="library.double", time_limit=20)
def double(value: int) -> int:
    """Return twice as much."""
    return 2 * value
