"""Hides passwords in text that people are to read: errors, log lines, what is shown.

Promises: pure; what servers and libraries quote of a URL comes out without it.
It must not know where the text goes.
"""

import re

_PASSWORD_IN_URL = re.compile(r"(://[^/@\s:]*:)[^\s]+@")
_PASSWORD_IN_WORDS = re.compile(
    # in quotes, or bare: with a quote in it, but not the one that ends all of it
    r"""(password\s*=\s*)('(?:[^'\\]|\\.)*'|"[^"]*"|[^\s&]+?(?=['"]?(?:[\s&]|$)))""",
    re.IGNORECASE,
)


def mask(text: str) -> str:
    """Return the text with the passwords in its URLs made unreadable."""
    return _PASSWORD_IN_WORDS.sub(r"\1***", _PASSWORD_IN_URL.sub(r"\1***@", text))
