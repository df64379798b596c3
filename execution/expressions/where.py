"""Reads a filter's expression, of which a database can judge every part.

    clause  = clause || clause, clause && clause, !clause, (clause)
            | operand == != < <= > >= operand | operand in operand
            | has(path) | path
    operand = path | text, number, true, false, null | timestamp("…") | [literals]

Promises: what is accepted means here what it means in plans; everything else is refused
by a TemplateError that names the character and what can be written instead. Knows no
database.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from ..errors import ExpressionError
from ..moments import to_utc
from ..places import nearest
from .clauses import (
    FIELD_KINDS,
    Clause,
    Compared,
    Every,
    Field,
    FieldKind,
    Held,
    Listed,
    Literal,
    Negated,
    Operator,
    Present,
    Scalar,
    Some,
    Truth,
    describe_kind,
    find_misfit,
)
from .scanner import Scan, TemplateError, Token, TokenKind, scan_expression
from .templates import evaluate_template

_POSSIBLE = (
    "a filter compares fields with values by ==, !=, <, <=, >, >=, in and has(…), and"
    " joins that by &&, || and !"
)
_COMPARISONS = frozenset(operator.value for operator in Operator)
_WORDS: dict[str, Scalar] = {"true": True, "false": False, "null": None}
_MOST_INDEX = 2**31 - 1
_MOST_INTEGER = 2**53
_END = Token(TokenKind.MARK, "", 0)

_Operand: TypeAlias = Literal | Field | tuple[Literal, ...] | Clause


def parse_where(text: str) -> Clause:
    """Return what a filter's expression asks for; raises TemplateError."""
    scan = scan_expression(text)
    if not scan.tokens:
        raise TemplateError(f"is empty; {_POSSIBLE}")
    reading = _Reading(scan)
    clause = reading.read_some()
    if reading.token is not _END:
        raise reading.fault(reading.token, f"is not expected; {_POSSIBLE}")
    return clause


@dataclass
class _Reading:
    """A descent over the tokens; the scanner has bounded how deep it goes."""

    scan: Scan
    index: int = 0

    @property
    def token(self) -> Token:
        tokens = self.scan.tokens
        return tokens[self.index] if self.index < len(tokens) else _END

    def take(self) -> Token:
        token = self.token
        self.index += 1
        return token

    def accept(self, text: str) -> bool:
        """Say whether the next token is this one, and go past it then."""
        is_next = self.token.text == text
        self.index += is_next
        return is_next

    def expect(self, text: str, where: str) -> None:
        if not self.accept(text):
            raise self.fault(self.token, f"stands where `{text}` {where}")

    def fault(self, token: Token, message: str) -> TemplateError:
        if token is _END:
            return TemplateError(f"ends too soon; {_POSSIBLE}")
        at = token.start + 1
        return TemplateError(f"`{token.text}` at character {at} {message}")

    # clauses

    def read_some(self) -> Clause:
        clauses = [self.read_every()]
        while self.accept("||"):
            clauses.append(self.read_every())
        return clauses[0] if len(clauses) == 1 else Some(tuple(clauses))

    def read_every(self) -> Clause:
        clauses = [self.read_one()]
        while self.accept("&&"):
            clauses.append(self.read_one())
        return clauses[0] if len(clauses) == 1 else Every(tuple(clauses))

    def read_one(self) -> Clause:
        begin = self.token
        left = self.read_operand()
        sign = self.token
        if sign.kind is TokenKind.OPERATOR and sign.text in (*_COMPARISONS, "in"):
            self.take()
            clause = self._join(left, sign, self.read_operand())
            if self.token.text in (*_COMPARISONS, "in"):
                raise self.fault(self.token, "compares a comparison; join two by &&")
            return clause
        return self._as_clause(left, begin)

    def _as_clause(self, operand: _Operand, begin: Token) -> Clause:
        match operand:
            case Field() if operand.kind is FieldKind.JSON:
                return Truth(operand)
            case Field() | Literal() | tuple():
                raise self.fault(begin, f"says nothing alone; {_POSSIBLE}")
            case _:
                return operand

    def _join(self, left: _Operand, sign: Token, right: _Operand) -> Clause:
        match left, right:
            case (Field(), tuple()) if sign.text == "in":
                self._check_values(left, right, sign)
                return Listed(left, right)
            case (Literal(), Field()) if sign.text == "in":
                return self._hold(left, sign, right)
            case (Field(), Literal() | Field()) if sign.text != "in":
                return self._compare(left, Operator(sign.text), right, sign)
            case (Literal(), Field()):
                operator = Operator(sign.text).mirrored
                return self._compare(right, operator, left, sign)
            case _ if sign.text == "in":
                raise self.fault(sign, "is written PATH in [values] or VALUE in PATH")
            case _:
                raise self.fault(
                    sign, "stands between a field and a value, or two fields"
                )

    # operands

    def read_operand(self) -> _Operand:
        token = self.take()
        if token.kind in _WRITTEN:
            return Literal(self._read_literal(token))
        if token.kind is TokenKind.NAME:
            return self._read_name(token)
        match token.text:
            case "!":
                begin = self.token
                return Negated(self._as_clause(self.read_operand(), begin))
            case "-" if self.token.kind is TokenKind.NUMBER:
                return Literal(-self._read_number(self.take()))
            case "(":
                clause = self.read_some()
                self.expect(")", "closes the bracket")
                return clause
            case "[":
                return self._read_list(token)
            case _:
                raise self.fault(token, f"begins no value; {_POSSIBLE}")

    def _read_name(self, token: Token) -> _Operand:
        if token.text in _WORDS:
            return Literal(_WORDS[token.text])
        if self.token.text != "(":
            return self._read_field(token)
        match token.text:
            case "has":
                return self._read_presence()
            case "timestamp":
                return Literal(self._read_time())
            case _:
                raise self.fault(
                    token, f"is a function, which no filter calls; {_POSSIBLE}"
                )

    def _read_field(self, token: Token) -> Field:
        if token.text not in FIELD_KINDS:
            near = nearest(token.text, FIELD_KINDS)
            listed = ", ".join(FIELD_KINDS)
            raise self.fault(token, f"is no field of executions{near or f': {listed}'}")
        parts: list[str | int] = []
        while (part := self._read_part()) is not None:
            parts.append(part)
        field = Field(token.text, tuple(parts))
        if parts and field.kind is not FieldKind.JSON:
            raise self.fault(token, f"is {describe_kind(field)}, and has no parts")
        return field

    def _read_part(self) -> str | int | None:
        if self.accept("."):
            name = self.take()
            if name.kind is not TokenKind.NAME:
                raise self.fault(name, "stands where the name of a key is expected")
            if self.token.text == "(":
                raise self.fault(
                    name, f"is a method, which no filter calls; {_POSSIBLE}"
                )
            return name.text
        if not self.accept("["):
            return None
        token = self.take()
        part = self._read_literal(token) if token.kind in _WRITTEN else None
        is_index = isinstance(part, int) and part <= _MOST_INDEX
        if part is None or not (isinstance(part, str) or is_index):
            raise self.fault(
                token, "is neither the index of an item nor a key in quotes"
            )
        self.expect("]", "closes the index")
        return part if isinstance(part, str) else int(part)

    def _read_presence(self) -> Present:
        self.take()
        token = self.take()
        is_name = token.kind is TokenKind.NAME and token.text not in _WORDS
        field = self._read_field(token) if is_name else None
        if field is None or not field.parts or not isinstance(field.parts[-1], str):
            raise self.fault(
                token, "is no path to a key; write has(parameters.customer)"
            )
        self.expect(")", "closes has(")
        return Present(Field(field.root, field.parts[:-1]), field.parts[-1])

    def _read_time(self) -> datetime:
        self.take()
        token = self.take()
        text = self._read_literal(token) if token.kind is TokenKind.TEXT else None
        self.expect(")", "closes timestamp(")
        try:
            moment = datetime.fromisoformat(str(text))
        except ValueError:
            moment = datetime.min  # noqa: DTZ901  # has no offset, as what is refused
        if moment.tzinfo is None:
            raise self.fault(token, 'is no time like "2026-11-21T08:00:00Z"')
        return to_utc(moment)

    def _read_list(self, opening: Token) -> tuple[Literal, ...]:
        values: list[Literal] = []
        while not self.accept("]"):
            begin = self.token
            value = self.read_operand()
            if not isinstance(value, Literal):
                raise self.fault(begin, "is no plain value; a list holds nothing else")
            values.append(value)
            if self.token.text != "]":
                self.expect(",", "or `]` is expected")
        if not values:
            raise self.fault(opening, "begins an empty list, which nothing is in")
        return tuple(values)

    def _read_literal(self, token: Token) -> str | int | float:
        if token.kind is TokenKind.NUMBER:
            return self._read_number(token)
        text = token.plain_text
        if text is None:
            text = self._read_escapes(token)
        if "\0" in text or not _is_encodable(text):
            raise self.fault(token, "holds a character that no value can have")
        return text

    def _read_escapes(self, token: Token) -> str:
        try:
            text = evaluate_template(f"${{{token.text}}}", {}, place="where")
        except ExpressionError:
            text = None
        if not isinstance(text, str):
            raise self.fault(token, "is no text")
        return text

    def _read_number(self, token: Token) -> int | float:
        digits = token.text.rstrip("uU")
        if digits[:2] in ("0x", "0X"):
            number: int | float = int(digits, 16)
        else:
            number = int(digits) if digits.isdecimal() else float(digits)
        if number == float("inf"):
            raise self.fault(token, "is too large")
        # the language compares it with what it rounds to, the database with itself
        if isinstance(number, int) and number > _MOST_INTEGER:
            raise self.fault(token, "is an integer beyond ±2^53, which no value is")
        return number

    # what fits together

    def _compare(
        self, field: Field, operator: Operator, other: Literal | Field, sign: Token
    ) -> Compared:
        if isinstance(other, Literal):
            self._check_values(field, (other,), sign)
            if other.value is None and not operator.is_equality:
                raise self.fault(sign, "compares with null, which is in no order")
        elif field.kind is not other.kind and FieldKind.TIME in (
            field.kind,
            other.kind,
        ):
            raise self.fault(sign, "compares a time with what is none")
        elif FieldKind.TAGS in (field.kind, other.kind):
            raise self.fault(sign, 'compares tags; write "TAG" in tags')
        return Compared(field, operator, other)

    def _check_values(
        self, field: Field, values: tuple[Literal, ...], sign: Token
    ) -> None:
        for literal in values:
            if reason := find_misfit(field, literal.value):
                raise self.fault(sign, reason)

    def _hold(self, value: Literal, sign: Token, field: Field) -> Held:
        match field.kind:
            case FieldKind.TAGS if not isinstance(value.value, str):
                raise self.fault(sign, "seeks what is no text in tags")
            case FieldKind.TEXT | FieldKind.TIME:
                raise self.fault(
                    sign, f"seeks in {field.root}, which is {describe_kind(field)}"
                )
            case FieldKind.JSON if isinstance(value.value, datetime):
                raise self.fault(sign, "seeks a time in JSON, which has none")
        return Held(field, value)


_WRITTEN = (TokenKind.TEXT, TokenKind.NUMBER)


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
