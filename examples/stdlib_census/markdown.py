"""The few pieces of Markdown that the report is made of.

Promises: whatever a name or a message holds, it breaks no table and starts no markup.

Must not know what the report says.
"""

from collections.abc import Iterable, Sequence

_MARKUP = str.maketrans({mark: f"\\{mark}" for mark in "\\`*_[]<>#|&"})


def code(words: str) -> str:
    """Return a name or path as code."""
    # No escape works inside backticks; only a tree made on purpose has such names.
    return f"`{_one_line(words).replace('`', chr(39)).replace('|', '¦')}`"


def plain(words: str) -> str:
    """Return words as they are, with nothing in them read as markup."""
    return _one_line(words).translate(_MARKUP)


def listing(names: Sequence[str], most: int) -> str:
    """Return names as code, and how many more there are beyond the most to show."""
    shown = ", ".join(code(name) for name in names[:most])
    hidden = len(names) - most
    return f"{shown} and {hidden:,} more" if hidden > 0 else shown


def table(
    titles: Sequence[str], sides: Sequence[str], rows: Iterable[Sequence[str]]
) -> str:
    """Return a table; each side is `l` for a column of words, `r` for numbers."""
    rule = ["---:" if side == "r" else ":---" for side in sides]
    return "\n".join(f"| {' | '.join(row)} |" for row in (titles, rule, *rows))


def folded(summary: str, content: str) -> str:
    """Return content that opens when somebody asks for it."""
    return f"<details>\n<summary>{plain(summary)}</summary>\n\n{content}\n\n</details>"


def _one_line(words: str) -> str:
    return " ".join(words.split())
