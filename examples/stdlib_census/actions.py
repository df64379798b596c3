"""The actions of the census: what `plan.yaml` calls.

Promises: each returns plain JSON well below the limit of a step's result, and each may
be repeated; `census.parse` goes on from its last checkpoint.

Must not know how to count: it only passes values between the plan and the modules that
do.
"""

from pathlib import Path
from typing import Any

from execution import Context, action

from .publishing import publish
from .scanner import describe
from .shard import advance, join_shards, resume
from .survey import read_survey


@action("census.scan", timeout="1m")
def scan(root: str, shards: int) -> dict[str, Any]:
    """Find the modules of the library and deal them out in shards."""
    return describe(root, shards)


@action("census.parse", timeout="2m")
def parse(ctx: Context, root: str, files: list[str]) -> dict[str, Any]:
    """Take the census of one shard, saving it after every few files."""
    stage = resume(files, ctx.checkpoint)
    while not stage.finished:
        ctx.raise_if_cancelled()
        stage = advance(stage, Path(root))
        ctx.save_checkpoint(stage.saved())
        lines = stage.census.total.lines
        ctx.progress(stage.percent, "parsing", chunks=stage.done, records=lines)
    return stage.census.to_json()


@action("census.join", timeout="1m")
def join(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Put the shards together."""
    return join_shards(parts)


@action("census.report", timeout="1m")
def report(
    library: dict[str, Any], census: dict[str, Any], output: str
) -> dict[str, Any]:
    """Write `census.md` and `census.svg`; return where they are and the headlines."""
    return publish(read_survey(library, census), output)
