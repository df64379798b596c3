"""Reads JSON strictly, with the place of every value.

Promises: only what the JSON standard allows, with duplicate keys, `NaN` and
numbers beyond the limits as findings, and no recursion: the standard library's
reader gives no places, keeps the last of two equal keys and gives up on depth
with RecursionError. Knows nothing of plans.
"""

import json
import re
from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple, NoReturn

from ..places import shown
from .findings import Findings
from .rules import Rule
from .tree import MAX_NUMBER_CHARACTERS, Reading, TreeBuilder

_TOKEN = re.compile(
    r"""[ \t\n\r]*(?:
      (?P<mark>[{}\[\],:])
    | (?P<string>"[^"\\\x00-\x1f]*(?:\\.[^"\\\x00-\x1f]*)*")
    | (?P<number>-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)
    | (?P<word>[A-Za-z]+)
    | (?P<end>\Z)
    )""",
    re.VERBOSE,
)
_WORDS: dict[str, object] = {"true": True, "false": False, "null": None}


_VALUES = frozenset(("{", "[", "string", "number", "word"))


class _Expected(Enum):
    """What may come next: the kinds of tokens, and the words for them."""

    VALUE = (_VALUES, "a value")
    FIRST_ITEM = (_VALUES | {"]"}, "a value or `]`")
    FIRST_KEY = (frozenset(("string", "}")), "a key in quotes or `}`")
    KEY = (frozenset(("string",)), "a key in quotes")
    COLON = (frozenset((":",)), "`:`")
    NEXT_ITEM = (frozenset((",", "]")), "`,` or `]`")
    NEXT_KEY = (frozenset((",", "}")), "`,` or `}`")
    END = (frozenset(("end",)), "nothing more")

    def __init__(self, kinds: frozenset[str], words: str) -> None:
        self.kinds = kinds
        self.words = words


class _Token(NamedTuple):
    kind: str
    text: str
    offset: int


def read_json(text: str, findings: Findings) -> Reading:
    """Return the value of a JSON text with the offsets of its parts.

    Faults are added to `findings`. Raises UnreadableError at the first error of
    syntax and when nesting exceeds the limit.
    """
    builder = TreeBuilder(findings)
    expected = _Expected.VALUE
    for token in _tokens(text, builder):
        if token.kind not in expected.kinds:
            message = f"expected {expected.words}, found {_named(token)}"
            _stop(builder, message, token.offset)
        if token.kind != "end":
            expected = _take(builder, token, expected)
    return builder.reading(text)


def _tokens(text: str, builder: TreeBuilder) -> Iterator[_Token]:
    position = 0
    kind = ""
    while kind != "end":
        found = _TOKEN.match(text, position)
        if found is None or found.lastgroup is None:
            rest = text[position:]
            position += len(rest) - len(rest.lstrip(" \t\n\r"))
            _stop(builder, "there is a character or text that JSON has not", position)
        kind = found.lastgroup
        value = found[kind]
        yield _Token(value if kind == "mark" else kind, value, found.start(kind))
        position = found.end()


def _take(builder: TreeBuilder, token: _Token, expected: _Expected) -> _Expected:
    match token.kind:
        case "{":
            builder.open_mapping(token.offset)
            return _Expected.FIRST_KEY
        case "[":
            builder.open_list(token.offset)
            return _Expected.FIRST_ITEM
        case "}" | "]":
            builder.close()
        case ",":
            return _Expected.KEY if builder.in_mapping else _Expected.VALUE
        case ":":
            return _Expected.VALUE
        case "string" if expected in (_Expected.KEY, _Expected.FIRST_KEY):
            builder.key(_string(builder, token), token.offset)
            return _Expected.COLON
        case _:
            _take_scalar(builder, token)
    return _after_value(builder)


def _after_value(builder: TreeBuilder) -> _Expected:
    if builder.at_top:
        return _Expected.END
    return _Expected.NEXT_KEY if builder.in_mapping else _Expected.NEXT_ITEM


def _take_scalar(builder: TreeBuilder, token: _Token) -> None:
    if token.kind == "string":
        builder.scalar(_string(builder, token), token.offset)
    elif token.kind == "word":
        _take_word(builder, token)
    elif len(token.text) > MAX_NUMBER_CHARACTERS:
        # such a number fits no limit, and Python takes quadratic time or refuses
        message = f"is a number of {len(token.text):,} characters"
        builder.refuse(Rule.NUMBER_RANGE, message, token.offset)
    else:
        builder.scalar(json.loads(token.text), token.offset)


def _take_word(builder: TreeBuilder, token: _Token) -> None:
    if token.text not in _WORDS:
        message = f"{shown(token.text)} is not JSON; quote text"
        builder.refuse(Rule.JSON_SYNTAX, message, token.offset)
    else:
        builder.scalar(_WORDS[token.text], token.offset)


def _string(builder: TreeBuilder, token: _Token) -> str:
    if "\\" not in token.text:
        return token.text[1:-1]
    try:
        return str(json.loads(token.text))
    except json.JSONDecodeError as error:
        _stop(builder, error.msg, token.offset + error.pos)


def _stop(builder: TreeBuilder, message: str, offset: int) -> NoReturn:
    builder.stop(Rule.JSON_SYNTAX, f"is not JSON: {message}", offset)


def _named(token: _Token) -> str:
    return "the end" if token.kind == "end" else shown(token.text)
