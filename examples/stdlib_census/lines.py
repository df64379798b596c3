"""Tells what each line of a module is: code, docstring, comment or blank.

Promises: every line is exactly one of the four; a `#` inside a string is no comment, a
blank line inside a string is not blank, and a line that holds any code is code.

Must not know files, packages or syntax trees: it sees text and the rows of docstrings.
"""

import io
import token
import tokenize
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

_LAYOUT = frozenset(
    {tokenize.NL, token.NEWLINE, token.INDENT, token.DEDENT, token.ENDMARKER}
)


@dataclass(frozen=True, slots=True)
class LineCount:
    """How many lines a module has, by what they are."""

    code: int
    docstring: int
    comment: int
    blank: int


def count_lines(text: str, docstring_rows: AbstractSet[int]) -> LineCount:
    """Count the lines of a module that parses; rows are numbered from one."""
    code: set[int] = set()
    strings: set[int] = set()
    comments: set[int] = set()
    for kind, _, (start, _), (end, _), _ in tokenize.generate_tokens(
        io.StringIO(text).readline
    ):
        if kind == token.STRING:
            strings.update(range(start, end + 1))
        elif kind == tokenize.COMMENT:
            comments.add(start)
        elif kind not in _LAYOUT:
            code.update(range(start, end + 1))
    docstrings = (strings & docstring_rows) - code
    code |= strings - docstrings
    comments -= code | docstrings
    return LineCount(
        code=len(code),
        docstring=len(docstrings),
        comment=len(comments),
        blank=_rows(text) - len(code) - len(docstrings) - len(comments),
    )


def _rows(text: str) -> int:
    # Not splitlines(): that one also breaks at form feeds, which Python does not.
    return text.count("\n") + bool(text and not text.endswith("\n"))
