"""The tools of the agent: files are listed, read and written, and sums worked out.

Promises: the same call on the same files gives the same, and may be made twice. Must
not know who asks, or why.
"""

import ast
import operator
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path

_AMOUNT = re.compile(r"^total: (\d+(?:\.\d+)?)$", re.MULTILINE)
_OPERATORS: Mapping[type[ast.operator], Callable[[Decimal, Decimal], Decimal]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
}


def list_files(folder: str) -> list[str]:
    """Return the text files of a folder, sorted."""
    return sorted(str(path) for path in Path(folder).iterdir() if path.suffix == ".txt")


def find_total(path: str, word: str) -> str | None:
    """Return the total that a file states, if the word is in it."""
    text = Path(path).read_text("utf-8")
    found = _AMOUNT.search(text)
    return found[1] if found and word in text else None


def calculate(expression: str) -> str:
    """Return what a sum, difference or product of numbers comes to."""
    return str(_work_out(ast.parse(expression, mode="eval").body))


def write_report(folder: str, text: str) -> str:
    """Write the report of a folder anew, and return where it lies."""
    path = Path(folder) / "report.md"
    path.write_text(text + "\n", "utf-8")
    return str(path)


READING: Mapping[str, Callable[..., object]] = {
    "list_files": list_files,
    "find_total": find_total,
    "calculate": calculate,
}
WRITING: Mapping[str, Callable[..., object]] = {"write_report": write_report}


def _work_out(node: ast.expr) -> Decimal:
    match node:
        case ast.Constant(value=int() | float() as number):
            return Decimal(str(number))
        case ast.BinOp(left, op, right) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](_work_out(left), _work_out(right))
        case _:
            raise ValueError(f"no number or sum: {ast.unparse(node)}")
