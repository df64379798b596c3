"""What an expression reads and calls, found without a parser.

    text ─▶ scanner ─▶ PlainPath, or CelExpression: reads, functions, loops, source

The library has no syntax tree to look into. The tokens are enough for what must be
known before anything runs: which paths are read, with the names of steps in them,
and which functions are called. What the tokens leave open is refused.

`map` and `filter` are taken out of the expression and run item by item (see
`programs`): the library copies its list for each item, which makes 10,000 of them
take half a minute, and goes over mappings in another order each time. `source` has
a call in their place.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from ..places import nearest, shown
from .forms import (
    LATER_ROOTS,
    LOOP_NAME,
    ROOTS,
    CelExpression,
    Expression,
    Loop,
)
from .functions import FUNCTIONS
from .paths import PlainPath, read_path
from .scanner import (
    Flaw,
    Scan,
    TemplateError,
    Token,
    TokenKind,
    check_length,
    scan_expression,
)

MAX_COMPREHENSIONS = 4
_LOOPS = frozenset(("map", "filter"))
_MACROS = _LOOPS | frozenset(("all", "exists", "exists_one", "existsOne"))
_BUILT_IN = frozenset(
    (
        *("has", "size", "int", "uint", "double", "string", "bytes"),
        *("duration", "timestamp"),
    )
)
_METHODS = frozenset(
    (
        *("size", "contains", "startsWith", "endsWith", "matches"),
        *("getFullYear", "getMonth", "getDayOfYear", "getDayOfMonth", "getDate"),
        *("getDayOfWeek", "getHours", "getMinutes", "getSeconds", "getMilliseconds"),
    )
)
_LITERALS = frozenset(("true", "false", "null"))
_FOREIGN_WORDS = {"and": "&&", "or": "||", "not": "!", "is": "=="}
_FOREIGN_FUNCTIONS = {"len": "size", "length": "size", "str": "text", "float": "double"}
_NO_TOKEN = Token(TokenKind.OPERATOR, "", 0)


@lru_cache(maxsize=1024)
def parse_expression(text: str) -> Expression:
    """Return what an expression, without its `${…}`, is made of.

    Raises TemplateError when it exceeds a limit, or calls what is not there.
    """
    text = text.strip()
    check_length(text)
    if not text:
        raise TemplateError("holds no expression")
    return read_path(text) or _Parsing(scan_expression(text)).parse()


@dataclass
class _Parsing:
    """One pass over the tokens of an expression."""

    scan: Scan
    comprehensions: int = 0

    def parse(self) -> CelExpression:
        return self._parse_range(0, len(self.scan.tokens), None)

    def _parse_range(
        self, first: int, last: int, variable: str | None
    ) -> CelExpression:
        """Parse the tokens from `first` up to `last`, the body of a loop or all."""
        part = _Part(variable)
        index = first
        while index < last:
            index = self._take(index, first, part)
        begins = self.scan.tokens[first].start
        return CelExpression(
            text=self.scan.text[begins : self.scan.tokens[last - 1].end],
            source=_apply(part.edits, self.scan.text, begins, self._at(last - 1).end),
            own_reads=tuple(dict.fromkeys(part.reads)),
            functions=frozenset(part.functions),
            loops=tuple(part.loops),
        )

    def _take(self, index: int, first: int, part: "_Part") -> int:
        """Note what begins at a token; return where to go on."""
        token = self._at(index)
        follows_value = index > first and _ends_value(self._at(index - 1))
        match token.kind:
            case TokenKind.DOT:
                if not follows_value:
                    raise self._fault(token, "follows no value")
                return self._take_member(index, first, part)
            case TokenKind.NUMBER if follows_value and token.text[0] == ".":
                digits = token.text[1:]
                raise self._fault(token, f"is no index; write [{digits}] in brackets")
            case TokenKind.NAME if token.text not in _LITERALS:
                return self._take_name(index, part)
            case _:
                return index + 1

    def _take_name(self, index: int, part: "_Part") -> int:
        token, after = self._at(index), self._at(index + 1)
        is_local = index < part.local_until.get(token.text, 0)
        is_item = token.text == part.variable or is_local
        if token.text in _FOREIGN_WORDS and not is_item:
            hint = f"is not of the language; write {_FOREIGN_WORDS[token.text]}"
            raise self._fault(token, hint)
        if after.text == "{":
            raise self._fault(token, "cannot be followed by {")
        if after.text == "(":
            if token.text in FUNCTIONS:
                part.functions.add(token.text)
            elif token.text not in _BUILT_IN:
                raise TemplateError(_describe_foreign(token.text), Flaw.FUNCTION)
            return index + 1
        if is_item:
            return index + 1
        return self._take_path(index, part)

    def _take_path(self, index: int, part: "_Part") -> int:
        """Note a path as far as its parts are written down."""
        parts = [self._at(index).text]
        end = index + 1
        while (step := self._read_part(end)) is not None:
            name, end = step
            parts.append(name)
        begins = self._at(index).start
        text = self.scan.text[begins : self._at(end - 1).end]
        part.reads.append(PlainPath(text, tuple(parts)))
        return end

    def _read_part(self, index: int) -> tuple[str, int] | None:
        """Return the part `.name` or `["name"]` that begins at a token, and its end."""
        opening, name, after = (self._at(index + offset) for offset in range(3))
        if opening.text == "." and name.kind is TokenKind.NAME:
            is_word = name.text in _LITERALS
            return None if is_word or after.text == "(" else (name.text, index + 2)
        if opening.text == "[" and after.text == "]":
            text = name.plain_text
            return None if text is None else (text, index + 3)
        return None

    def _take_member(self, index: int, first: int, part: "_Part") -> int:
        """Take `.name` or `.name(`, begun by the dot at `index`."""
        name = self._at(index + 1)
        if name.text in ("in", *_LITERALS):
            raise self._fault(name, f'is a word of the language; write ["{name.text}"]')
        if name.kind is not TokenKind.NAME:
            raise self._fault(self._at(index), "is not followed by a name")
        if self._at(index + 2).text != "(":
            return index + 2
        if name.text in _MACROS:
            return self._take_comprehension(index, first, part)
        if name.text in FUNCTIONS:
            raise self._fault(name, f"is a function; write {name.text}(…) around it")
        if name.text not in _METHODS:
            near = nearest(name.text, [*_METHODS, *_MACROS])
            message = f"there is no method {shown(name.text)}{near}"
            raise TemplateError(message, Flaw.FUNCTION)
        return index + 2

    def _take_comprehension(self, index: int, first: int, part: "_Part") -> int:
        name, opening = self._at(index + 1), index + 2
        self.comprehensions += 1
        if self.comprehensions > MAX_COMPREHENSIONS:
            raise TemplateError(
                f"has more than {MAX_COMPREHENSIONS} of map, filter, all, exists and"
                " exists_one",
                Flaw.LIMIT,
            )
        if part.variable is not None or index < part.nested_until:
            raise self._fault(name, "stands inside of another; none may be nested")
        closing = self.scan.partners[opening]
        variable = self._read_variable(opening, name)
        if name.text in _LOOPS:
            self._take_loop(index, first, closing, variable, part)
            return closing + 1
        part.local_until[variable] = part.nested_until = closing
        return opening + 3

    def _read_variable(self, opening: int, macro: Token) -> str:
        variable, comma = self._at(opening + 1), self._at(opening + 2)
        if variable.kind is not TokenKind.NAME or comma.text != ",":
            message = f"is written list.{macro.text}(x, …), with a name for the item"
            raise self._fault(macro, message)
        if variable.text in ROOTS | LATER_ROOTS:
            raise self._fault(variable, "has a meaning already; name the item x")
        return variable.text

    def _take_loop(
        self, index: int, first: int, closing: int, variable: str, part: "_Part"
    ) -> None:
        """Put the call of a loop in the place of `map` or `filter`."""
        macro = self._at(index + 1)
        starts = [index + 5, *self._find_commas(index + 5, closing)]
        ends = [*(start - 1 for start in starts[1:]), closing]
        ranges = list(zip(starts, ends, strict=True))
        most = 2 if macro.text == "map" else 1
        if len(ranges) > most or any(start >= end for start, end in ranges):
            raise self._fault(macro, f"is written list.{macro.text}(x, …)")
        bodies = [self._parse_range(*limits, variable) for limits in ranges]
        filters = macro.text == "filter" or len(bodies) > 1
        name = LOOP_NAME.format(len(part.loops))
        part.loops.append(
            Loop(
                macro.text,
                variable,
                bodies[0] if filters else None,
                bodies[-1] if macro.text == "map" else None,
            )
        )
        begins = self._at(self._find_chain_start(index - 1, first)).start
        part.edits.append((begins, begins, f"{name}("))
        part.edits.append((self._at(index).start, self._at(closing).end, ")"))

    def _find_commas(self, first: int, last: int) -> Iterator[int]:
        """Yield where what follows a comma begins, outside of inner brackets."""
        index = first
        while index < last:
            if self._at(index).kind is TokenKind.OPEN:
                index = self.scan.partners[index]
            elif self._at(index).text == ",":
                yield index + 1
            index += 1

    def _find_chain_start(self, index: int, first: int) -> int:
        """Return where the chain of members and calls begins that ends at a token."""
        while True:
            if self._at(index).kind is TokenKind.CLOSE:
                index = self.scan.partners[index]
                opens_after_value = index > first and _ends_value(self._at(index - 1))
                if self._at(index).text == "{" or not opens_after_value:
                    return index
                index -= 1
            elif index > first and self._at(index - 1).kind is TokenKind.DOT:
                index -= 2
            else:
                return index

    def _at(self, index: int) -> Token:
        tokens = self.scan.tokens
        return tokens[index] if index < len(tokens) else _NO_TOKEN

    def _fault(self, token: Token, message: str) -> TemplateError:
        return TemplateError(f"`{token.text}` at character {token.start + 1} {message}")


@dataclass
class _Part:
    """What was found so far in an expression, or in the body of a loop."""

    variable: str | None
    reads: list[PlainPath] = field(default_factory=list)
    functions: set[str] = field(default_factory=set)
    loops: list[Loop] = field(default_factory=list)
    edits: list[tuple[int, int, str]] = field(default_factory=list)
    local_until: dict[str, int] = field(default_factory=dict)
    nested_until: int = 0


def _describe_foreign(name: str) -> str:
    known = _FOREIGN_FUNCTIONS.get(name)
    near = nearest(name, [*_BUILT_IN, *FUNCTIONS])
    hint = f"; write {known}(…)" if known else near
    return f"there is no function {shown(name)}{hint}"


def _ends_value(token: Token) -> bool:
    return token.kind in (
        TokenKind.NAME,
        TokenKind.NUMBER,
        TokenKind.TEXT,
        TokenKind.CLOSE,
    )


def _apply(edits: list[tuple[int, int, str]], text: str, first: int, last: int) -> str:
    """Return a part of a text with its edits; of two at one place the last is first."""
    done = ""
    position = first
    ordered = sorted(enumerate(edits), key=lambda edit: (edit[1][0], -edit[0]))
    for _, (start, end, replacement) in ordered:
        done += text[position:start] + replacement
        position = end
    return done + text[position:last]
