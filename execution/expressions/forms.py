"""What an expression is once it has been looked into: values, and nothing to run them.

Knows neither the language nor how the parts were found.
"""

from dataclasses import dataclass
from typing import TypeAlias

from .paths import PlainPath

ROOTS = frozenset(("parameters", "steps", "execution"))
"""What every expression may name."""
LATER_ROOTS = frozenset(("item", "index", "last", "step", "failure"))
"""What only those of some places may name."""
LOOP_NAME = "plans_loop_{}"
"""What the call of a loop is named in `source`; nobody else can call it."""


@dataclass(frozen=True)
class Loop:
    """A `map` or `filter`: for each item, as `variable`, what is kept and becomes."""

    name: str
    variable: str
    condition: "CelExpression | None"
    value: "CelExpression | None"


@dataclass(frozen=True)
class CelExpression:
    """An expression that needs the library; `source` is what it is given."""

    text: str
    source: str
    own_reads: tuple[PlainPath, ...]
    functions: frozenset[str]
    loops: tuple[Loop, ...]

    @property
    def bodies(self) -> tuple["CelExpression", ...]:
        """The expressions in its loops."""
        both = ((loop.condition, loop.value) for loop in self.loops)
        return tuple(body for pair in both for body in pair if body is not None)

    @property
    def reads(self) -> tuple[PlainPath, ...]:
        """The paths that are read, in loops as well."""
        inner = (path for body in self.bodies for path in body.own_reads)
        return tuple(dict.fromkeys((*self.own_reads, *inner)))


Expression: TypeAlias = PlainPath | CelExpression
