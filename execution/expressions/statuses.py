"""The words that an expression compares the status of a step with.

Promises: found without running anything, where the word is written beside the status;
what is worked out is passed over. Must not know which statuses there are.
"""

from collections.abc import Iterator, Sequence

from .forms import CelExpression
from .scanner import Scan, Token, scan_expression

_COMPARISONS = frozenset(("==", "!="))
_PATHS = (("steps", ".", None, ".", "status"), ("step", ".", "status"))


def list_statuses(expression: CelExpression) -> list[str]:
    """Return each text that a status is compared with, or sought in a list of."""
    scan = scan_expression(expression.text)
    return [
        token.plain_text
        for index, operator in enumerate(scan.tokens)
        for token in _list_compared(scan, index, operator)
        if token.plain_text is not None
    ]


def _list_compared(scan: Scan, index: int, operator: Token) -> Iterator[Token]:
    tokens = scan.tokens
    if operator.text in _COMPARISONS:
        if _ends_in_status(tokens[:index]):
            yield from tokens[index + 1 : index + 2]
        if _begins_with_status(tokens[index + 1 :]):
            yield from tokens[max(index - 1, 0) : index]
    elif operator.text == "in" and _ends_in_status(tokens[:index]):
        # of a list that is written down, and of nothing else
        is_list = any(token.text == "[" for token in tokens[index + 1 : index + 2])
        yield from tokens[index + 2 : scan.partners[index + 1]] if is_list else ()


def _ends_in_status(tokens: Sequence[Token]) -> bool:
    return any(
        _fits(tokens[-len(path) :], path) and not _is_dot(tokens, -len(path) - 1)
        for path in _PATHS
    )


def _begins_with_status(tokens: Sequence[Token]) -> bool:
    return any(
        _fits(tokens[: len(path)], path) and not _is_dot(tokens, len(path))
        for path in _PATHS
    )


def _fits(tokens: Sequence[Token], path: tuple[str | None, ...]) -> bool:
    return len(tokens) == len(path) and all(
        part is None or token.text == part
        for token, part in zip(tokens, path, strict=True)
    )


def _is_dot(tokens: Sequence[Token], index: int) -> bool:
    return -len(tokens) <= index < len(tokens) and tokens[index].text == "."
