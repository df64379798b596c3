"""Names of signals that are not known before a step begins, as patterns.

Promises: pure; a pattern fits every name that its template can come to, and a name
without expressions fits itself alone. Expects a template without faults.
"""

from ..expressions import parse_template_text

_SPECIAL = ("\\", "%", "_")


def find_pattern(template: str) -> str:
    """Return what the names of a template fit, as LIKE of SQL reads it."""
    pieces = parse_template_text(template) if "${" in template else [template]
    return "".join(_escape(p) if isinstance(p, str) else "%" for p in pieces)


def _escape(text: str) -> str:
    for special in _SPECIAL:
        text = text.replace(special, f"\\{special}")
    return text
