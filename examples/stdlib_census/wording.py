"""Says numbers the same way in the report and in the picture.

Promises: the same number always reads the same, whatever the locale.

Must not know what is counted.
"""


def share(part: float | None) -> str:
    """Return a share as a percentage, or a dash where there is nothing to share."""
    return "—" if part is None else f"{part:.0%}"


def average(value: float | None) -> str:
    """Return an average to one decimal, or a dash where there is nothing to average."""
    return "—" if value is None else f"{value:.1f}"
