"""A rule that is broken, in words: as a value, or as what a field's check raises.

Knows no place: who finds a breach says where it is.
"""

from dataclasses import dataclass

from .rules import Rule


@dataclass(frozen=True)
class Complaint:
    """A breach of a rule, in words, wherever it is."""

    rule: Rule
    message: str

    def __str__(self) -> str:
        return self.message


class UnfitError(ValueError):
    """A value that a field cannot have; the message says why, `rule` which rule."""

    def __init__(self, rule: Rule, message: str) -> None:
        super().__init__(message)
        self.rule = rule
