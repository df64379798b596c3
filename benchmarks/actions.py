"""The action that is measured: none."""

from execution import action


@action("bench.nothing")
def do_nothing() -> None:
    """Be a step of no work."""
