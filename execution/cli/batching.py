"""`plans batch`: look at acts on many executions, and stay in charge of them.

It must not know how they are carried out.
"""

from collections.abc import Callable
from typing import Annotated

import typer
from rich.table import Table

from ..batches import Batch, BatchItemPage, BatchStatus, ItemStatus
from ..engine import ExecutionEngine
from ..filters import PageCursor
from .connecting import connect
from .display import styled, write_time
from .exits import ExitCode, printable, write_count
from .options import AsJson, Local
from .output import print_json
from .steering import By, Reason, read_login
from .tables import open_console, print_table

_MOST_PAGE_SIZE = 500

BatchId = Annotated[str, typer.Argument(metavar="ID", help="The batch's id.")]
PageSize = Annotated[
    int, typer.Option(min=1, max=_MOST_PAGE_SIZE, help="Rows on a page.")
]

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="""Look at acts on many executions, and stay in charge of them.

    `plans bulk` begins them.

      plans batch list
    """,
)


@app.command("list")
def list_batches(
    after: Annotated[
        str | None,
        typer.Option(
            metavar="CURSOR", help="Go on where the page ended that gave this cursor."
        ),
    ] = None,
    page_size: PageSize = 20,
    as_json: AsJson = False,
    _local: Local = False,
) -> None:
    """List batches, newest first.

    plans batch list
    """
    if after is not None:
        PageCursor.read(after)
    with connect() as engine:
        page = engine.list_batches(after=after, page_size=page_size)
    if as_json:
        print_json(page)
        return
    table = Table("id", "act", "status", "done", "of", "refused", "failed", "by")
    for batch in page.items:
        numbers = (batch.done, batch.total, batch.refused, batch.failed)
        table.add_row(
            batch.id,
            batch.act,
            styled(batch.status),
            *(f"{number:,}" for number in numbers),
            printable(batch.by or "-"),
        )
    console = open_console()
    print_table(console, table)
    if page.next_cursor is not None:
        console.print(f"more: --after {page.next_cursor}", soft_wrap=True)


@app.command("show")
def show(batch_id: BatchId, as_json: AsJson = False, _local: Local = False) -> None:
    """Show a batch: what was asked, by whom and why, and how far it is.

    plans batch show 019f3b52-6b0a-7cc1-9d57-3f1b2a90c4d1
    """
    with connect() as engine:
        batch = engine.get_batch(batch_id)
    tell(batch, as_json=as_json)


@app.command("items")
def list_items(
    batch_id: BatchId,
    status: Annotated[
        ItemStatus | None, typer.Option(help="Only those for which this came out.")
    ] = None,
    start: Annotated[
        int, typer.Option(min=0, metavar="POSITION", help="Begin at this one.")
    ] = 0,
    page_size: PageSize = 100,
    as_json: AsJson = False,
    _local: Local = False,
) -> None:
    """List the executions of a batch, and what came out for each.

    plans batch items 019f3b52-6b0a-7cc1-9d57-3f1b2a90c4d1 --status refused
    """
    with connect() as engine:
        page = engine.list_batch_items(
            batch_id, status=status, start=start, page_size=page_size
        )
    if as_json:
        print_json(page)
        return
    _print_items(page)


def _print_items(page: BatchItemPage) -> None:
    table = Table("position", "execution", "status", "at", "detail")
    for item in page.items:
        table.add_row(
            f"{item.position}",
            item.execution_id,
            styled(item.status),
            write_time(item.at),
            printable(item.detail or ""),
        )
    console = open_console()
    print_table(console, table)
    if page.next_position is not None:
        console.print(f"more: --start {page.next_position}", soft_wrap=True)


@app.command("pause")
def pause(
    batch_id: BatchId,
    by: By = None,
    reason: Reason = None,
    as_json: AsJson = False,
    _local: Local = False,
) -> None:
    """Act on no further execution until `plans batch resume`.

    plans batch pause 019f3b52-6b0a-7cc1-9d57-3f1b2a90c4d1 --reason "look first"
    """
    _move(ExecutionEngine.pause_batch, batch_id, by, reason, as_json=as_json)


@app.command("resume")
def resume(
    batch_id: BatchId,
    by: By = None,
    reason: Reason = None,
    as_json: AsJson = False,
    _local: Local = False,
) -> None:
    """Go on with a batch that was paused.

    plans batch resume 019f3b52-6b0a-7cc1-9d57-3f1b2a90c4d1
    """
    _move(ExecutionEngine.resume_batch, batch_id, by, reason, as_json=as_json)


@app.command("cancel")
def cancel(
    batch_id: BatchId,
    by: By = None,
    reason: Reason = None,
    as_json: AsJson = False,
    _local: Local = False,
) -> None:
    """Act on no further execution, for good; what was done stays.

    plans batch cancel 019f3b52-6b0a-7cc1-9d57-3f1b2a90c4d1
    """
    _move(ExecutionEngine.cancel_batch, batch_id, by, reason, as_json=as_json)


@app.command("wait")
def wait(batch_id: BatchId, as_json: AsJson = False, _local: Local = False) -> None:
    """Wait until a batch has ended; 1 unless all of it could be acted on.

    plans batch wait 019f3b52-6b0a-7cc1-9d57-3f1b2a90c4d1
    """
    with connect() as engine:
        batch = engine.wait_batch(batch_id)
    tell(batch, as_json=as_json)
    end_with(batch)


def _move(
    move: Callable[..., BatchStatus],
    batch_id: str,
    by: str | None,
    reason: str | None,
    *,
    as_json: bool,
) -> None:
    with connect() as engine:
        move(engine, batch_id, by=by or read_login(), reason=reason)
        batch = engine.get_batch(batch_id)
    tell(batch, as_json=as_json)


def tell(batch: Batch, *, as_json: bool) -> None:
    """Print a batch."""
    if as_json:
        print_json(batch)
        return
    asked = [f"{name} {value}" for name, value in batch.filter.items()]
    rate = batch.rate_per_second
    count = write_count(batch.total, "execution")
    went = f"{batch.done:,} done, {batch.refused:,} refused, {batch.failed:,} failed"
    lines = [
        f"batch {batch.id} is {batch.status}",
        f"{batch.act} {count}: {went}, {batch.pending:,} to go",
        f"chosen by: {', '.join(asked) or 'all'}",
        f"asked by {batch.by or 'nobody'} at {write_time(batch.created_at)}"
        + (f": {batch.reason}" if batch.reason else ""),
        "rate: " + ("unlimited" if rate is None else f"{rate:g} a second"),
    ]
    if batch.most_failures is not None:
        lines.append(f"stops after {write_count(batch.most_failures, 'failure')}")
    lines += [
        f"{write_time(change.at)} {change.from_status} -> {change.to_status}"
        + (f" by {change.by}" if change.by else "")
        + (f": {change.reason}" if change.reason else "")
        for change in batch.history
    ]
    for line in lines:
        typer.echo(printable(line))


def end_with(batch: Batch) -> None:
    """End the command with 1, unless a batch has done all that it was for."""
    if batch.status is not BatchStatus.COMPLETED or batch.done < batch.total:
        raise typer.Exit(ExitCode.FAILED)
