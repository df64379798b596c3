"""A tool: looks words up in the docstrings of a module of the standard library.

Promises: sources are read, and nothing in them is run.

Must not know plans, nor who asks.
"""

import ast
import re
import sys
from importlib.util import find_spec
from pathlib import Path

_FEWEST_LETTERS = 4  # shorter words are those that every sentence has

Findings = dict[str, list[str]]
"""Names of functions and classes, by the word that their docstring has."""


def pick_words(question: str) -> list[str]:
    """Return the words of a question that are worth looking up."""
    words = re.findall(r"[a-z]+", question.lower())
    return sorted({word for word in words if len(word) >= _FEWEST_LETTERS})


def find_words(module: str, words: list[str]) -> Findings:
    """Return what in a module speaks of which word.

    Raises LookupError for what is no module of the standard library, or none of Python.
    """
    if module not in sys.stdlib_module_names:
        raise LookupError(f"{module} is no module of the standard library")
    docs = _read_docs(module)
    found = {
        word: [name for name, doc in docs.items() if word in doc] for word in words
    }
    return {word: names for word, names in found.items() if names}


def _read_docs(module: str) -> dict[str, str]:
    spec = find_spec(module)
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        raise LookupError(f"{module} has no source to read here")
    tree = ast.parse(Path(spec.origin).read_bytes())
    return {
        f"{module}.{node.name}": (ast.get_docstring(node) or "").lower()
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
    }


def merge(found: list[Findings]) -> Findings:
    """Return several findings as one."""
    words = sorted({word for findings in found for word in findings})
    return {
        word: sorted({name for findings in found for name in findings.get(word, ())})
        for word in words
    }
