"""The actions of the nightly load: what `plan.yaml` calls.

Promises: each may be repeated, for what it writes is found by its key or its name.

Must not know what is in a file, nor how it is stored.
"""

from pathlib import Path

from execution import Context, FatalError, action

from .sales import UnreadableFileError, create_table, read_rows, sum_up, upsert


@action("etl.find")
def find(folder: str) -> list[str]:
    """Return the CSV files of a folder, in the order of their names."""
    if not Path(folder).is_dir():
        raise FatalError(f"{folder} is no folder")
    return sorted(str(path) for path in Path(folder).glob("*.csv"))


@action("etl.prepare")
def prepare(database: str) -> None:
    """Make sure that there is a table."""
    create_table(database)


@action("etl.load")
def load(ctx: Context, file: str, database: str) -> int:
    """Store the rows of one file; return how many there are."""
    try:
        rows = read_rows(Path(file))
    except UnreadableFileError as error:
        raise FatalError(str(error)) from error
    upsert(database, rows)
    ctx.progress(100, records=len(rows))
    return len(rows)


@action("etl.report")
def report(
    ctx: Context,
    database: str,
    report: str,
    files: list[str] | None,
    loaded: list[int | None] | None,
) -> dict[str, object]:
    """Write what became of the night; `loaded` is missing where that failed."""
    sales, cents = sum_up(database)
    counts = dict(zip(files or (), loaded or (), strict=False))
    left_out = [Path(file).name for file, rows in counts.items() if rows is None]
    lines = [
        f"{'loaded' if loaded is not None else 'FAILED'}: {ctx.execution_id}",
        *(f"left out: {name}" for name in left_out),
        f"sales in the table: {sales}, of {cents / 100:.2f} in all",
    ]
    whole = Path(report).with_suffix(".part")
    whole.write_text("\n".join(lines) + "\n", encoding="utf-8")
    whole.replace(report)
    return {"sales": sales, "cents": cents, "left_out": left_out}
