"""Whether two texts of a plan say the same, however their expressions are spaced.

Promises: what differs in a token differs here; a text that is no template stays as it
is. Must not know what expressions come to.
"""

from .scanner import TemplateError, scan_expression
from .templates import parse_template_text, wrap_expression

_BETWEEN_TOKENS = "\x00"
_TEXT = "text "


def spell_template_text(text: str) -> tuple[str, ...]:
    """Return the parts of a text, each of its expressions as a row of tokens.

    Equal rows mean equal values.
    """
    if "${" not in text:
        return (_TEXT + text,)
    try:
        pieces = parse_template_text(text)
    except TemplateError:
        return (_TEXT + text,)
    return tuple(
        _TEXT + piece if isinstance(piece, str) else _spell_tokens(piece.text)
        for piece in pieces
    )


def spell_bare(text: str) -> tuple[str, ...]:
    """Return a bare expression as a row of tokens, with or without `${…}` around it."""
    return spell_template_text(wrap_expression(text))


def _spell_tokens(text: str) -> str:
    return "expression " + _BETWEEN_TOKENS.join(
        token.text for token in scan_expression(text).tokens
    )
