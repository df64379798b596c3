"""A filter as conditions on the table of executions.

An expression of SQL is null where one of the language fails: a path that leads nowhere,
an order between values of two kinds. `&&`, `||` and `!` treat a failure as SQL treats
null, and a row is not chosen for either; so a clause means the same in both. Every
value is a bound parameter.

Must not know how clauses are written, nor which rows are asked for.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any, TypeAlias

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from .expressions import clauses as c
from .filters import ExecutionFilter, PageCursor
from .models import Execution
from .models import Plan as PlanRow
from .moments import to_utc

Condition: TypeAlias = sa.ColumnElement[bool]
_Value: TypeAlias = sa.ColumnElement[Any]

_COLUMNS: dict[str, _Value] = {
    "plan": PlanRow.name.expression,
    "version": PlanRow.version.expression,
    **{
        name: getattr(Execution, name).expression
        for name in c.FIELD_KINDS
        if name not in ("plan", "version")
    },
}
_COMPARE: dict[c.Operator, Callable[[Any, Any], Any]] = {
    c.Operator.EQUAL: lambda left, right: left == right,
    c.Operator.UNEQUAL: lambda left, right: left != right,
    c.Operator.LESS: lambda left, right: left < right,
    c.Operator.AT_MOST: lambda left, right: left <= right,
    c.Operator.MORE: lambda left, right: left > right,
    c.Operator.AT_LEAST: lambda left, right: left >= right,
}


def build_conditions(wanted: ExecutionFilter) -> list[Condition]:
    """Return what applies to wanted executions, in a query that joins their plans."""
    clause = () if wanted.clause is None else (_build(wanted.clause),)
    return [*_build_named(wanted), *_build_placed(wanted), *clause]


def _build_named(wanted: ExecutionFilter) -> Iterator[Condition]:
    if wanted.statuses:
        yield Execution.status.in_(wanted.statuses)
    if wanted.plan is not None:
        name, _, version = wanted.plan.partition("@")
        yield PlanRow.name == name
        if version:
            yield PlanRow.version == version
    if wanted.tags:
        yield _has_tags(list(wanted.tags))


def _build_placed(wanted: ExecutionFilter) -> Iterator[Condition]:
    if wanted.since is not None:
        yield Execution.created_at >= to_utc(wanted.since)
    if wanted.until is not None:
        yield Execution.created_at < to_utc(wanted.until)
    if wanted.parent_id is not None:
        yield Execution.parent_id == wanted.parent_id
    if wanted.is_outer:
        yield Execution.parent_id.is_(None)


def build_continuation(cursor: PageCursor) -> list[Condition]:
    """Return what applies to the executions after a place in the list."""
    place = sa.tuple_(Execution.created_at, Execution.id)
    after = sa.tuple_(
        sa.literal(cursor.created_at, Execution.created_at.type),
        sa.literal(cursor.execution_id, Execution.id.type),
    )
    # the first alone is what the index knows of
    return [Execution.created_at <= cursor.created_at, place < after]


def _has_tags(tags: list[str]) -> Condition:
    return sa.type_coerce(Execution.tags, ARRAY(sa.Text)).contains(tags)


def _build(clause: c.Clause) -> Condition:
    match clause:
        case c.Every(clauses):
            return sa.and_(*map(_build, clauses))
        case c.Some(clauses):
            return sa.or_(*map(_build, clauses))
        case c.Negated(inner):
            return sa.not_(_build(inner))
        case _:
            return _build_simple(clause)


def _build_simple(
    clause: c.Truth | c.Present | c.Held | c.Listed | c.Compared,
) -> Condition:
    match clause:
        case c.Truth(field):
            return _guard(_read(field), {"boolean": _as_boolean})
        case c.Present(parent, name):
            return _guard(_read(parent), {"object": lambda v: v.bool_op("?")(name)})
        case c.Held(field, value):
            return _build_held(field, value)
        case c.Listed(field, values):
            return sa.or_(*(_compare(field, c.Operator.EQUAL, v) for v in values))
        case c.Compared(field, operator, other):
            return _compare(field, operator, other)


def _compare(
    field: c.Field, operator: c.Operator, other: c.Literal | c.Field
) -> Condition:
    if c.FieldKind.JSON not in _kinds(field, other):
        return _compare_columns(field, operator, other)
    if operator.is_equality:
        condition: Condition = _COMPARE[operator](_as_json(field), _as_json(other))
        return condition
    left = _as_json(field)
    if isinstance(other, c.Literal):
        name, convert, value = _ORDERED[type(other.value)]
        limit = sa.literal(value(other.value))
        return _guard(left, {name: lambda v: _COMPARE[operator](convert(v), limit)})
    right = _as_json(other)
    ways = {name: convert for name, convert, _ in _ORDERED.values()}
    return sa.case(
        *(
            (
                _is_kind(left, name) & _is_kind(right, name),
                _COMPARE[operator](convert(left), convert(right)),
            )
            for name, convert in ways.items()
        )
    )


def _compare_columns(
    field: c.Field, operator: c.Operator, other: c.Literal | c.Field
) -> Condition:
    """Compare what is a column; null is a value in it, and no failure."""
    left = _as_column(field)
    if isinstance(other, c.Literal) and other.value is None:
        is_equal = operator is c.Operator.EQUAL
        return left.is_(None) if is_equal else left.is_not(None)
    right = _as_column(other)
    compared: Condition = _COMPARE[operator](left, right)
    match operator:
        case c.Operator.UNEQUAL:
            return left.is_distinct_from(right)
        case c.Operator.EQUAL if isinstance(other, c.Field):
            return left.is_not_distinct_from(right)
        case c.Operator.EQUAL if field.root in c.NULLABLE_FIELDS:
            return sa.and_(left.is_not(None), compared)
        case _:
            return compared


def _build_held(field: c.Field, value: c.Literal) -> Condition:
    if field.kind is c.FieldKind.TAGS:
        return _has_tags([str(value.value)])
    return _guard(
        _read(field),
        {
            "array": lambda v: v.contains(sa.func.jsonb_build_array(_as_json(value))),
            "object": lambda v: _has_key(v, value.value),
        },
    )


def _has_key(mapping: _Value, key: c.Scalar) -> Condition:
    match key:
        case str():
            return mapping.bool_op("?")(key)
        case int():
            # and bool: keys in other languages' mappings, never in those of JSON
            return sa.false()
        case _:
            return sa.type_coerce(sa.null(), sa.Boolean)


def _guard(value: _Value, kinds: Mapping[str, Callable[[_Value], Any]]) -> Condition:
    """Return what is asked of a JSON value of each kind; null for every other kind."""
    return sa.case(
        *((_is_kind(value, name), ask(value)) for name, ask in kinds.items())
    )


def _is_kind(value: _Value, name: str) -> Condition:
    return sa.func.jsonb_typeof(value) == sa.literal(name)


def _kinds(*operands: c.Field | c.Literal) -> set[c.FieldKind]:
    return {operand.kind for operand in operands if isinstance(operand, c.Field)}


def _as_column(operand: c.Field | c.Literal) -> _Value:
    if isinstance(operand, c.Literal):
        return sa.literal(operand.value)
    column = _COLUMNS[operand.root]
    # as the language orders texts, whatever the database's own order is
    return column.collate("C") if operand.kind is c.FieldKind.TEXT else column


def _as_json(operand: c.Field | c.Literal) -> _Value:
    match operand:
        case c.Literal(value):
            return sa.cast(sa.literal(json.dumps(value)), JSONB)
        case c.Field(kind=c.FieldKind.JSON):
            return _read(operand)
        case _:
            column = sa.func.to_jsonb(_COLUMNS[operand.root])
            return sa.func.coalesce(column, sa.cast(sa.literal("null"), JSONB))


def _read(field: c.Field) -> _Value:
    """Return what lies at a path; null where that leads nowhere."""
    value = _COLUMNS[field.root]
    if not field.parts:
        # a result that is not there yet is null in the language
        return sa.func.coalesce(value, sa.cast(sa.literal("null"), JSONB), type_=JSONB)
    for part in field.parts:
        value = _read_part(value, part)
    return value


def _read_part(value: _Value, part: str | int) -> _Value:
    found = value.op("->", return_type=JSONB())(sa.literal(part))
    # PostgreSQL takes a value that is no list for the only item of one
    is_list = _is_kind(value, "array")
    return found if isinstance(part, str) else sa.case((is_list, found))


def _as_boolean(value: _Value) -> _Value:
    return sa.cast(value, sa.Boolean)


def _as_number(value: _Value) -> _Value:
    return sa.cast(value, sa.Numeric)


def _as_text(value: _Value) -> _Value:
    whole = sa.cast(sa.literal("{}"), ARRAY(sa.Text))
    text: _Value = value.op("#>>", return_type=sa.Text())(whole).collate("C")
    return text


_ORDERED: dict[type, tuple[str, Callable[[_Value], _Value], Callable[[Any], Any]]] = {
    str: ("string", _as_text, str),
    bool: ("boolean", _as_boolean, bool),
    int: ("number", _as_number, lambda number: Decimal(repr(number))),
    float: ("number", _as_number, lambda number: Decimal(repr(number))),
}
"""What of JSON is in an order, by a literal's type: its kind, and how both are read."""
