"""Tokens of expressions, read before any parser sees them.

Promises: the limits on length, brackets and operators hold for everything that
passes, so that the parser, which recurses in native code, is never asked for more
than it can bear; a brace inside of a text closes nothing. Knows the alphabet of the
language, and neither its grammar nor its names.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from ..places import shown

MAX_EXPRESSION_CHARACTERS = 1024
MAX_BRACKET_DEPTH = 16
MAX_OPERATORS = 64

# No possessive quantifiers: those of Python 3.11.2 match what they must not.
_TEXT = r"""
    (?: [bB]?[rR] (?: \"{3}.*?\"{3} | '{3}.*?'{3} | "[^"\n\r]*" | '[^'\n\r]*' )
    | [bB]? (?: \"{3}(?:[^\\]|\\.)*?\"{3} | '{3}(?:[^\\]|\\.)*?'{3}
              | "[^"\\\n\r]*(?:\\.[^"\\\n\r]*)*" | '[^'\\\n\r]*(?:\\.[^'\\\n\r]*)*' ) )
"""
_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_TOKEN = re.compile(
    rf"""[ \t\r\n\f]* (?:
      (?P<text> {_TEXT} )
    | (?P<name> {_NAME} )
    | (?P<number> 0[xX][0-9a-fA-F]+[uU]?
        | (?: [0-9]+(?:\.[0-9]+)? | \.[0-9]+ ) (?:[eE][-+]?[0-9]+)? [uU]? )
    | (?P<comment> // )
    | (?P<operator> && | \|\| | [=!<>]= | [-+*/%<>!?] )
    | (?P<open> [\[({{] )
    | (?P<close> [\])}}] )
    | (?P<dot> \. )
    | (?P<mark> [,:] )
    | (?P<end> \Z )
    )""",
    re.VERBOSE | re.DOTALL,
)
# a name is taken as a whole, or the end of one would be the prefix of a text
_TEXT_OR_BRACE = re.compile(
    rf"""{_TEXT} | {_NAME} | (?P<brace> [{{}}'"] )""", re.VERBOSE | re.DOTALL
)
_PLAIN_TEXT = re.compile(r""""[^"\\\n\r]*"|'[^'\\\n\r]*'""")
_FOREIGN_MARKS = {
    "=": "; write == to compare",
    "&": "; write && for and",
    "|": "; write || for or",
}
_PARTNERS = {")": "(", "]": "[", "}": "{"}


class Flaw(StrEnum):
    """What kind of fault makes a text no template."""

    SYNTAX = "syntax"
    LIMIT = "limit"
    FUNCTION = "function"


class TemplateError(ValueError):
    """A text is no template; the message says why, the caller knows where."""

    def __init__(self, message: str, flaw: Flaw = Flaw.SYNTAX) -> None:
        super().__init__(message)
        self.flaw = flaw


class TokenKind(StrEnum):
    """What a token is."""

    NAME = "name"
    NUMBER = "number"
    TEXT = "text"
    OPERATOR = "operator"
    OPEN = "open"
    CLOSE = "close"
    DOT = "dot"
    MARK = "mark"


@dataclass(frozen=True)
class Token:
    """A token, and where it stands in the expression."""

    kind: TokenKind
    text: str
    start: int

    @property
    def end(self) -> int:
        """Where the next one may begin."""
        return self.start + len(self.text)

    @property
    def plain_text(self) -> str | None:
        """What a text says, if it is written without prefix, escape and line break."""
        is_plain = self.kind is TokenKind.TEXT and _PLAIN_TEXT.fullmatch(self.text)
        return self.text[1:-1] if is_plain else None


@dataclass(frozen=True)
class Scan:
    """The tokens of an expression; `partners` has the other one of each bracket."""

    text: str
    tokens: tuple[Token, ...]
    partners: Mapping[int, int]


def scan_expression(text: str) -> Scan:
    """Return the tokens of an expression that is within the limits.

    Raises TemplateError when it exceeds one, or holds what no token begins with.
    """
    check_length(text)
    tokens: list[Token] = []
    position = 0
    while True:
        found = _TOKEN.match(text, position)
        if found is None or found.lastgroup in (None, "comment"):
            raise TemplateError(_foreign_message(text, position))
        if found.lastgroup == "end":
            break
        tokens.append(_build_token(found))
        position = found.end()
    operators = sum(token.kind is TokenKind.OPERATOR for token in tokens)
    if operators > MAX_OPERATORS:
        message = f"has {operators} operators; {MAX_OPERATORS} are allowed"
        raise TemplateError(message, Flaw.LIMIT)
    return Scan(text, tuple(tokens), _pair_brackets(tokens))


def check_length(text: str) -> None:
    """Raise TemplateError when a text is too long for an expression."""
    if len(text) > MAX_EXPRESSION_CHARACTERS:
        raise TemplateError(
            f"an expression has {len(text):,} characters; "
            f"{MAX_EXPRESSION_CHARACTERS:,} are allowed",
            Flaw.LIMIT,
        )


def find_closing_brace(text: str, start: int) -> int:
    """Return where the `}` stands that closes the expression begun before `start`.

    Raises TemplateError when there is none, or none near enough.
    """
    depth = 1
    end = min(len(text), start + MAX_EXPRESSION_CHARACTERS + 1)
    for found in _TEXT_OR_BRACE.finditer(text, start, end):
        match found["brace"]:
            case "{":
                depth += 1
            case "}":
                depth -= 1
            case "'" | '"':
                break  # a text that never ends
            case _:
                continue  # a whole text, or a name
        if depth == 0:
            return found.start()
    at = f"`${{` at character {start - 1}"
    if end == len(text):
        raise TemplateError(f"{at} is not closed; write `$${{` for the text `${{`")
    raise TemplateError(
        f"{at} begins an expression that does not end"
        f" within {MAX_EXPRESSION_CHARACTERS:,} characters, which are allowed",
        Flaw.LIMIT,
    )


def _build_token(found: re.Match[str]) -> Token:
    kind = str(found.lastgroup)
    text = found[kind]
    if text == "in":
        kind = TokenKind.OPERATOR
    return Token(TokenKind(kind), text, found.start(found.lastgroup or 0))


def _foreign_message(text: str, position: int) -> str:
    rest = text[position:].lstrip(" \t\r\n\f")
    at = f"at character {len(text) - len(rest) + 1}"
    if rest.startswith("//"):
        return f"holds a comment {at}; remove it"
    if rest[0] in "'\"":
        return f"holds a text that begins {at} and never ends"
    hint = _FOREIGN_MARKS.get(rest[0], "")
    return f"holds {shown(rest[0])} {at}, which is not of the language{hint}"


def _pair_brackets(tokens: list[Token]) -> dict[int, int]:
    partners: dict[int, int] = {}
    opened: list[int] = []
    for index, token in enumerate(tokens):
        if token.kind is TokenKind.OPEN:
            opened.append(index)
            if len(opened) > MAX_BRACKET_DEPTH:
                raise TemplateError(
                    f"has brackets {len(opened)} deep; {MAX_BRACKET_DEPTH} are allowed",
                    Flaw.LIMIT,
                )
        elif token.kind is TokenKind.CLOSE:
            if not opened or tokens[opened[-1]].text != _PARTNERS[token.text]:
                at = token.start + 1
                raise TemplateError(f"`{token.text}` at character {at} closes nothing")
            other = opened.pop()
            partners[index], partners[other] = other, index
    if opened:
        token = tokens[opened[-1]]
        at = token.start + 1
        raise TemplateError(f"`{token.text}` at character {at} is not closed")
    return partners
