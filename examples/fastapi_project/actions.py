"""The actions of a report: what `reports.yaml` calls, in workers.

Promises: the same sales are counted alike whenever they are counted. Must not know of
the web.
"""

import time
import zlib
from typing import TypedDict

from execution import Context, action


class Count(TypedDict):
    """The sales of a region, in cents."""

    region: str
    cents: int


class Report(TypedDict):
    """What a report says."""

    title: str
    lines: list[Count]
    cents: int


@action("sales.count")
def count_sales(ctx: Context, region: str, seconds: float) -> Count:
    """Add up the sales of a region, which takes so many seconds."""
    ctx.progress(50, f"counting {region}")
    done_at = time.monotonic() + seconds
    while time.monotonic() < done_at:
        ctx.raise_if_cancelled()
        time.sleep(0.05)
    return {"region": region, "cents": zlib.crc32(region.encode()) % 1_000_000}


@action("report.write")
def write_report(title: str, counts: list[Count]) -> Report:
    """Put the sales of all regions together, the largest first."""
    lines = sorted(counts, key=lambda count: count["cents"], reverse=True)
    total = sum(count["cents"] for count in counts)
    return {"title": title, "lines": lines, "cents": total}
