"""`plans list`: executions, newest first, as many as fit a page.

It only reads. Pages are cut by the database, which goes on where the page before ended.
"""

from typing import Annotated

import typer

from ..filters import ExecutionFilter, PageCursor
from ..results import ExecutionPage
from .choosing import with_filter
from .connecting import connect
from .display import build_executions_table
from .exits import UsageError
from .options import AsJson, Local
from .output import print_json
from .overseeing import follow_all
from .tables import open_console, print_table

_MOST_PAGE_SIZE = 500

_After = Annotated[
    str | None,
    typer.Option(
        metavar="CURSOR", help="Go on where the page ended that gave this cursor."
    ),
]

app = typer.Typer(add_completion=False)


@app.command("list")
@with_filter
def list_executions(
    wanted: ExecutionFilter,
    after: _After = None,
    page_size: Annotated[
        int, typer.Option(min=1, max=_MOST_PAGE_SIZE, help="Executions on a page.")
    ] = 20,
    count: Annotated[
        bool, typer.Option("--count", help="Also count all that the filters find.")
    ] = False,
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Go on with what happens, as `plans watch` does."),
    ] = False,
    as_json: AsJson = False,
    _local: Local = False,
) -> None:
    """List executions, newest first.

    Every filter that is given must apply. In --where stand parameters,
    variables, result, error, status, plan, version, reason, tags, created_at,
    started_at and ended_at; it can compare them and ask whether a key is there.

      plans list --status failed --since 2h

      plans list --plan adding --where 'parameters.n > 3 && "eu" in tags'
    """
    if watch and (after is not None or count):
        raise UsageError("--watch has no pages; leave --after and --count away")
    if after is not None:
        PageCursor.read(after)
    with connect() as engine:
        if wanted.parent_id is not None:
            engine.get_status(wanted.parent_id)
        if watch:
            follow_all(engine, wanted, as_json=as_json)
        page = engine.list_executions(wanted, after=after, page_size=page_size)
        total = engine.count_executions(wanted) if count else None
    _print(page, total, as_json=as_json)


def _print(page: ExecutionPage, total: int | None, *, as_json: bool) -> None:
    if as_json:
        counted = {} if total is None else {"total": total}
        print_json({"items": page.items, "next_cursor": page.next_cursor, **counted})
        return
    console = open_console()
    print_table(console, build_executions_table(page.items, width=console.width))
    if total is not None:
        console.print(f"{total:,} in all")
    if page.next_cursor is not None:
        console.print(f"more: --after {page.next_cursor}", soft_wrap=True)
