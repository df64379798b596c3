"""What the findings of plans are about: the headings that their rules stand under."""

from enum import StrEnum


class Subject(StrEnum):
    """What the reader has to put right; its value is a heading."""

    TEXT = "The text"
    LIMITS = "Limits"
    FIELDS = "Fields and values"
    STEPS = "Steps and their order"
    EXPRESSIONS = "Expressions"
    PARAMETERS = "Parameters"
    ACTIONS = "Actions"
    CANVASES = "Canvases"
    ODDITIES = "Warnings"
