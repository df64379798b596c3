"""Expressions: what stands in `${…}` and in conditions, and what it comes to.

    text ─▶ templates ─▶ parsing ─▶ scanner          split, and look into
                 │          └─▶ functions
                 ├─▶ paths                           walk a plain path
                 ├─▶ spelling                        compare what is written
                 ├─▶ statuses                        what a status is compared with
                 └─▶ programs ─▶ complaints          run all else, by the library

Pure, and the same for those who check a plan and for those who run it. Most
expressions are plain paths, which are walked in Python; the library for the others
is loaded with the first of them, so that workers stay small. Imports no parser of
documents.
"""

from execution.expressions.forms import (
    LATER_ROOTS,
    ROOTS,
    CelExpression,
    Expression,
)
from execution.expressions.parsing import parse_expression
from execution.expressions.paths import PlainPath
from execution.expressions.programs import find_syntax_faults
from execution.expressions.scanner import Flaw, TemplateError
from execution.expressions.spelling import spell_bare, spell_template_text
from execution.expressions.statuses import list_statuses
from execution.expressions.templates import (
    evaluate_condition,
    evaluate_list,
    evaluate_template,
    names_steps,
    names_steps_bare,
    parse_bare,
    parse_template_text,
    quote,
    texts_of,
    wrap_expression,
)

__all__ = [
    "LATER_ROOTS",
    "ROOTS",
    "CelExpression",
    "Expression",
    "Flaw",
    "PlainPath",
    "TemplateError",
    "evaluate_condition",
    "evaluate_list",
    "evaluate_template",
    "find_syntax_faults",
    "list_statuses",
    "names_steps",
    "names_steps_bare",
    "parse_bare",
    "parse_expression",
    "parse_template_text",
    "quote",
    "spell_bare",
    "spell_template_text",
    "texts_of",
    "wrap_expression",
]
