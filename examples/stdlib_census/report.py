"""Writes the report of a census in Markdown.

Promises: a survey always gives the same text, also one of nothing; the numbers come
with what they mean and with what they leave out.

Must not know files, plans, or the picture beyond its name.
"""

from collections.abc import Iterator, Sequence

from .markdown import code, folded, listing, plain, table
from .survey import Survey
from .tally import Census, Record, Tally
from .wording import average, share

LARGEST_PACKAGES = 25
RANKS = 12
KNOTS = 8
NAMES = 60
FEWEST_TO_RANK = 20  # else a package with one class, documented, would lead

Ranks = Sequence[tuple[str, int]]


def write_report(survey: Survey, picture: str) -> str:
    """Return the report; it shows the picture, which lies beside it."""
    blocks = (
        f"# {plain(survey.title)}",
        *_head(survey),
        f"![The census as a picture]({picture})",
        *_packages(survey),
        *_imports(survey),
        *_knots(survey),
        *_docstrings(survey),
        *_longest(survey.census),
        *_left_out(survey),
        *_failures(survey.census),
        *_method(),
    )
    return "\n\n".join(blocks) + "\n"


def _head(survey: Survey) -> Iterator[str]:
    total = survey.census.total
    lines = total.lines or 1
    yield (
        f"**{total.lines:,} lines** in {total.files:,} files and"
        f" {len(survey.census.packages):,} top-level packages and modules:"
        f" {share(total.code_lines / lines)} code,"
        f" {share(total.docstring_lines / lines)} docstrings,"
        f" {share(total.comment_lines / lines)} comments,"
        f" {share(total.blank_lines / lines)} blank."
    )
    yield (
        f"**{total.classes:,} classes**, {total.functions:,} functions and"
        f" {total.methods:,} methods, {total.coroutines:,} of them `async def`;"
        f" on average, one is {average(total.lines_per_callable)} lines long."
        f" **{share(total.coverage)}** of what is public has a docstring."
    )
    if not survey.library.own:
        yield f"The tree that was read is {code(survey.library.root)}."


def _packages(survey: Survey) -> Iterator[str]:
    packages = survey.largest_packages
    yield "## The largest packages"
    yield table(
        ("Package", "Files", "Lines", "Classes", "Functions, methods", "Documented"),
        "lrrrrr",
        (
            (
                code(name),
                *_counts(tally.files, tally.lines, tally.classes, tally.callables),
                share(tally.coverage),
            )
            for name, tally in packages[:LARGEST_PACKAGES]
        ),
    )
    lines = ("Code", "Docstrings", "Comments", "Blank")
    definitions = ("Classes", "Functions", "Methods", "Async", "Average length")
    titles = ("Package", "Files", *lines, *definitions, "Documented")
    every = (_whole_row(name, tally) for name, tally in packages)
    yield folded(f"All {len(packages):,}", table(titles, "l" + 11 * "r", every))


def _whole_row(name: str, tally: Tally) -> tuple[str, ...]:
    lines = _counts(
        tally.code_lines,
        tally.docstring_lines,
        tally.comment_lines,
        tally.blank_lines,
    )
    return (
        code(name),
        f"{tally.files:,}",
        *lines,
        *_counts(tally.classes, tally.functions, tally.methods, tally.coroutines),
        average(tally.lines_per_callable),
        share(tally.coverage),
    )


def _counts(*numbers: int) -> tuple[str, ...]:
    return tuple(f"{number:,}" for number in numbers)


def _imports(survey: Survey) -> Iterator[str]:
    found = survey.findings
    yield "## Who imports whom"
    yield (
        f"{found.arrows:,} arrows lead from one package to another."
        f" {found.eager_arrows:,} of them are eager: the statement runs as soon as"
        " its module is imported. The others wait inside a function, or are there for"
        " a script or a type checker."
    )
    yield _ranking(
        ("Most imported", "by", found.most_imported),
        ("Most importing", "imports", found.most_importing),
        ("Farthest reaching", "reaches", found.farthest_reaching),
    )
    yield (
        "What a package reaches, eagerly and through others, is the most that importing"
        " it can load: here it stands for all of its modules, and every condition is"
        " taken as met."
    )
    if found.unimported:
        yield f"Imported by no other package: {listing(found.unimported, NAMES)}."
    if found.foreign:
        yield (
            f"Imported, and not in this census: {listing(found.foreign, NAMES)}. They"
            " belong to other projects or platforms, to a test suite, or to whatever"
            " program is being run."
        )


def _knots(survey: Survey) -> Iterator[str]:
    knots, eager = survey.findings.knots, survey.findings.eager_knots
    yield "## Knots"
    if not knots:
        yield "There are none: no package leads back to itself."
        return
    yield (
        "In a knot, every package leads to every other by imports. The largest one"
        f" holds {len(knots[0]):,}: {listing(knots[0], NAMES)}."
    )
    if not eager:
        yield "If only eager imports count, no knot is left."
        return
    yield (
        f"If only eager imports count, the largest of {len(eager):,} that are left are"
        " these. A knot of packages need not be a circle of modules."
    )
    yield "\n".join(f"- {listing(knot, NAMES)}" for knot in eager[:KNOTS])


def _docstrings(survey: Survey) -> Iterator[str]:
    total = survey.census.total
    kinds = (
        ("modules", total.modules, total.modules_documented),
        ("classes", total.public_classes, total.public_classes_documented),
        (
            "functions and methods",
            total.public_functions,
            total.public_functions_documented,
        ),
    )
    yield "## Docstrings"
    yield table(
        ("Public", "There are", "Documented", "Share"),
        "lrrr",
        (
            (
                kind,
                *_counts(there, documented),
                share(documented / there if there else None),
            )
            for kind, there, documented in kinds
        ),
    )
    yield from _best_and_worst(survey.census)


def _best_and_worst(census: Census) -> Iterator[str]:
    ranked = sorted(
        (-(tally.coverage or 0.0), name)
        for name, tally in census.packages.items()
        if tally.documentable >= FEWEST_TO_RANK
    )
    if not ranked:
        return
    words = [f"{code(name)} {share(-rank)}" for rank, name in ranked]
    yield (
        f"Of the {len(ranked):,} packages with {FEWEST_TO_RANK} or more of these, the"
        f" best documented: {', '.join(words[:6])}. The least: {', '.join(words[-6:])}."
    )


def _longest(census: Census) -> Iterator[str]:
    yield "## The longest"
    yield _ranking(
        ("Module", "lines", _pairs(census.largest_modules)),
        ("Function or method", "lines", _pairs(census.longest_callables)),
    )


def _pairs(records: Sequence[Record]) -> Ranks:
    return [(record.name, record.lines) for record in records]


def _left_out(survey: Survey) -> Iterator[str]:
    yield "## What was left out"
    yield (
        "Installed packages and caches were not looked at. What has no Python source,"
        f" {len(survey.library.sourceless):,} modules that are built in, compiled or of"
        " another platform, counts only as something to import."
    )
    if survey.library.left_out:
        yield table(
            ("Found, and left out", "Files", "kB"),
            "lrr",
            (
                (plain(reason), f"{files:,}", f"{size_bytes / 1000:,.0f}")
                for reason, files, size_bytes in survey.library.left_out
            ),
        )


def _failures(census: Census) -> Iterator[str]:
    failed = census.total.failed_files
    yield "## What did not parse"
    if not failed:
        yield "Nothing: every file did."
        return
    yield f"{failed:,} of the files found. They are in no number above."
    rows = ((code(path), plain(reason)) for path, reason in census.failures)
    yield table(("File", "Fault"), "ll", rows)
    if failed > len(census.failures):
        yield f"And {failed - len(census.failures):,} more."


def _method() -> Iterator[str]:
    yield "## How it was counted"
    yield (
        "- A *package* is a top-level package with all that is in it, or a top-level"
        " module.\n"
        "- A line with code on it is code, data in a string too. Lines of a docstring"
        " count as such even if they are empty.\n"
        "- A *method* is a function directly in a class; functions inside functions"
        " count as functions. Lengths are without decorators.\n"
        "- *Public* is what has no leading underscore, in nothing that has one, and is"
        " not inside a function. Setters, deleters, overloads and empty modules need no"
        " docstring; other modules do, whatever their name.\n"
        "- Imports are the `import` and `from` statements; what is imported by calling"
        " a function is not seen."
    )


def _ranking(*columns: tuple[str, str, Ranks]) -> str:
    """Put rankings side by side; the shorter ones end in empty cells."""
    titles = [cell for title, unit, _ in columns for cell in (title, unit)]
    height = min(RANKS, max(len(ranks) for *_, ranks in columns))
    rows: list[list[str]] = [[] for _ in range(height)]
    for *_, ranks in columns:
        for place, row in enumerate(rows):
            row += _rank(ranks, place)
    return table(titles, "lr" * len(columns), rows)


def _rank(ranks: Ranks, place: int) -> tuple[str, str]:
    if place >= len(ranks):
        return "", ""
    name, count = ranks[place]
    return code(name), f"{count:,}"
