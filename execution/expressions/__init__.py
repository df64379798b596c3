"""Expressions: what stands in `${…}` and in conditions, and what it comes to.

    text ─▶ templates ─▶ parsing ─▶ scanner          split, and look into
                 │          └─▶ functions
                 ├─▶ paths                           walk a plain path
                 ├─▶ spelling                        compare what is written
                 ├─▶ statuses                        what a status is compared with
                 ├─▶ where ─▶ clauses                filters, for a database to judge
                 └─▶ programs ─▶ complaints          run all else, by the library

Pure, and the same for those who check a plan and for those who run it. Most
expressions are plain paths, which are walked in Python; the library for the others
is loaded with the first of them, so that workers stay small. Imports no parser of
documents.
"""

from . import clauses
from .clauses import Clause
from .forms import (
    LATER_ROOTS,
    ROOTS,
    CelExpression,
    Expression,
)
from .parsing import parse_expression
from .paths import PlainPath
from .programs import find_syntax_faults
from .scanner import Flaw, TemplateError
from .spelling import spell_bare, spell_template_text
from .statuses import list_statuses
from .templates import (
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
from .where import parse_where

__all__ = [
    "LATER_ROOTS",
    "ROOTS",
    "CelExpression",
    "Clause",
    "Expression",
    "Flaw",
    "PlainPath",
    "TemplateError",
    "clauses",
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
    "parse_where",
    "quote",
    "spell_bare",
    "spell_template_text",
    "texts_of",
    "wrap_expression",
]
