"""Reads the strict part of YAML that plans are written in.

Promises: scalars follow the core schema of YAML 1.2 (`NO`, `on` and `12:30` are
text); anchors, aliases, tags, merge keys, duplicate keys and further documents
are findings. It follows the parser's stream of events and never composes nodes,
because the composer recurses in C and a deep document would end the process.
Knows nothing of plans.
"""

import re
from collections.abc import Callable
from typing import Any

import yaml

from ..places import shown
from .breaches import Complaint
from .findings import Findings
from .rules import Rule
from .tree import (
    MAX_NUMBER_CHARACTERS,
    Reading,
    TreeBuilder,
    UnreadableError,
)

# the parser in C where PyYAML was built with it: thirty times as fast
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_WORDS: dict[str, object] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?[0-9]+")
_BASED_INTEGER = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_UNPRINTABLE = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
_HINTS = (
    ("mapping values are not allowed", "text with `: ` in it needs quotes"),
    ("did not find expected ',' or", "inside { } and [ ], text with ${…} needs quotes"),
    ("cannot start any token", "text that starts so needs quotes"),
    (
        "did not find expected key",
        'text that goes on after `"…"`, `[…]` or `{…}` needs quotes',
    ),
    ("found unknown escape", "use single quotes, or double the backslash"),
)


def read_yaml(text: str, findings: Findings) -> Reading:
    """Return the value of one YAML document with the offsets of its parts.

    Faults are added to `findings`. Raises UnreadableError when a fault leaves
    the rest without meaning: bad syntax, nesting beyond the limit.
    """
    builder = TreeBuilder(findings)
    if found := _UNPRINTABLE.search(text):
        code = ord(found[0])
        message = f"holds the character U+{code:04X}; remove it"
        builder.stop(Rule.UNSTORABLE_TEXT, message, found.start())
    documents = 0
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            documents += isinstance(event, yaml.DocumentStartEvent)
            if documents > 1:
                message = "holds a second document; a file is one plan"
                offset = _offset(event.start_mark)
                builder.stop(Rule.DOCUMENT_COUNT, message, offset)
            _take(builder, event)
    except yaml.YAMLError as error:
        offset = _offset(getattr(error, "problem_mark", None))
        findings.add((), Rule.YAML_SYNTAX, _syntax_message(error), offset)
        raise UnreadableError from error
    if not documents:
        message = "is empty; a plan starts with `format: 1`"
        builder.stop(Rule.DOCUMENT_COUNT, message, 0)
    return builder.reading(text)


def _offset(mark: Any) -> int:
    # the parsers in C and in Python have a class of marks each
    return mark.index if mark else 0


def _take(builder: TreeBuilder, event: yaml.Event) -> None:
    offset = _offset(event.start_mark)
    match event:
        case yaml.CollectionEndEvent():
            builder.close()
        case yaml.NodeEvent() if builder.wants_key:
            _take_key(builder, event, offset)
        case yaml.AliasEvent():
            message = f"is an alias (*{event.anchor}); write it out"
            builder.refuse(Rule.YAML_EXTRA, message, offset)
        case yaml.ScalarEvent():
            _take_value(builder, event, offset)
        case yaml.MappingStartEvent():
            builder.open_mapping(offset)
            _refuse_properties(builder, event, offset)
        case yaml.SequenceStartEvent():
            builder.open_list(offset)
            _refuse_properties(builder, event, offset)
        case _:
            pass  # starts and ends of the stream and of its document


def _take_key(builder: TreeBuilder, event: yaml.NodeEvent, offset: int) -> None:
    if not isinstance(event, yaml.ScalarEvent):
        message = "has an alias, a list or a mapping for a key"
        builder.stop(Rule.KEY_NOT_TEXT, message, offset)
    plain = not event.style
    builder.key(event.value, offset)
    _refuse_properties(builder, event, offset)
    if plain and event.value == "<<":
        message = "is a merge key; write the fields out"
        builder.refuse_here(Rule.YAML_EXTRA, message, offset)
    elif plain and not isinstance(_resolve(event.value), str):
        message = "has a key that is not text; put it in quotes"
        builder.refuse_here(Rule.KEY_NOT_TEXT, message, offset)


def _take_value(builder: TreeBuilder, event: yaml.ScalarEvent, offset: int) -> None:
    if event.anchor is not None or event.tag is not None:
        builder.refuse(Rule.YAML_EXTRA, _property_message(event), offset)
        return
    if event.style:
        builder.scalar(event.value, offset)
        return
    value = _resolve(event.value)
    if isinstance(value, Complaint):
        builder.refuse(value.rule, value.message, offset)
    else:
        builder.scalar(value, offset)


def _resolve(text: str) -> object:
    """Return what a scalar without quotes means in the core schema."""
    if text in _WORDS:
        return _WORDS[text]
    if _NOT_FINITE.fullmatch(text):
        return Complaint(Rule.NUMBER_RANGE, "is not a finite number")
    if _INTEGER.fullmatch(text):
        return _number(text, int)
    if _BASED_INTEGER.fullmatch(text):
        return _number(text, lambda digits: int(digits, base=0))
    return _number(text, float) if _FLOAT.fullmatch(text) else text


def _number(text: str, convert: Callable[[str], object]) -> object:
    # longer numbers fit no limit, and Python takes quadratic time or refuses
    if len(text) > MAX_NUMBER_CHARACTERS:
        message = f"is a number of {len(text):,} characters"
        return Complaint(Rule.NUMBER_RANGE, message)
    return convert(text)


def _refuse_properties(
    builder: TreeBuilder,
    event: yaml.ScalarEvent | yaml.CollectionStartEvent,
    offset: int,
) -> None:
    if event.anchor is not None or event.tag is not None:
        builder.refuse_here(Rule.YAML_EXTRA, _property_message(event), offset)


def _property_message(event: yaml.ScalarEvent | yaml.CollectionStartEvent) -> str:
    if event.anchor is not None:
        return f"has an anchor (&{event.anchor}); plans have none, so write it out"
    tag = str(event.tag).replace("tag:yaml.org,2002:", "!!")
    return f"has the tag {shown(tag)}; plans have none: remove it, or quote text"


def _syntax_message(error: yaml.YAMLError) -> str:
    problem = getattr(error, "problem", None) or str(error)
    hints = (hint for start, hint in _HINTS if start in problem)
    hint = next(hints, "see the line above too")
    return f"is not YAML: {problem}; {hint}"
