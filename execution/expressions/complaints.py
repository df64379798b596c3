"""What the library's errors mean, in words that say what to do.

Its own name the wrong thing at times: an argument of a wrong type makes a function
"undefined". Where a path leads nowhere, it is walked once more to say how far it came.
"""

import re
from collections.abc import Mapping

from ..places import shown
from .forms import CelExpression
from .paths import NowhereError, walk

_COMPLAINT = re.compile(r"ERROR: <input>:\d+:(\d+): (.*)")
_UNDEFINED = re.compile(r"Undefined variable or function: '(\w+)'")
_FAILED_FUNCTION = re.compile(
    r"Function '(\w+)' error: (.*?):?(?:\. Check|\. The|\n|$)"
)
_TYPES = (
    "the types do not fit: an operator takes two of one type (double(x) makes a double"
    " of an integer, text(x) a text of anything), and null has no parts"
)


def describe_syntax(error: BaseException) -> str:
    """Return what is wrong with an expression that did not compile."""
    found = _COMPLAINT.search(str(error))
    if found is None:
        return f"is no expression: {type(error).__name__}"
    message = found[2].partition(" expecting ")[0].removeprefix("Syntax error: ")
    return f"is no expression: {message.strip()}, at character {found[1]}"


def describe_failure(
    error: BaseException, expression: CelExpression, scope: Mapping[str, object]
) -> str:
    """Return why an expression could not be evaluated in `scope`."""
    match error:
        case KeyError():
            key = error.args[0] if error.args else ""
            missing = _find_missing(expression, scope, is_null=False)
            said = next((m for m in missing if m.part == key), None)
            return str(said) if said else f"there is no key {shown(key)}"
        case IndexError():
            return str(error)
        case TypeError():
            said = next(iter(_find_missing(expression, scope, is_null=True)), None)
            return str(said) if said else _TYPES
        case ArithmeticError():
            return str(error).partition(" in CEL")[0]
        case _:
            return _describe_call(error)


def _find_missing(
    expression: CelExpression, scope: Mapping[str, object], *, is_null: bool
) -> list[NowhereError]:
    """Return which paths lead nowhere: into what has no parts, or to no key."""
    missing = []
    for path in expression.own_reads:
        try:
            walk(path.parts, scope)
        except NowhereError as error:
            if is_null is not isinstance(error.container, Mapping):
                missing.append(error)
    return missing


def _describe_call(error: BaseException) -> str:
    text = str(error)
    if found := _UNDEFINED.search(text):
        # names are known to be there; the library says so of arguments too
        return f"{found[1]}(…) does not take a value of this type"
    if found := _FAILED_FUNCTION.search(text):
        return f"{found[1]}(…): {found[2]}"
    return f"the library for expressions fails: {type(error).__name__}: {text}"
