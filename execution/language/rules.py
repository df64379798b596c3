"""The rules that a plan can break, each with a name of its own.

Promises: a name never changes its meaning, and is never used for another; `code` is
that of the class, E001 for what no engine would take and W001 for what is allowed and
likely to be regretted. One line says what is wrong and what to do. Must not know how a
breach is found, or shown.
"""

from enum import StrEnum
from typing import Self

from .subjects import Subject

FAULT_CODE = "E001"
WARNING_CODE = "W001"


class Rule(StrEnum):
    """A kind of finding; `meaning` says what is wrong and what to do."""

    subject: Subject
    meaning: str

    def __new__(cls, name: str, subject: Subject, meaning: str) -> Self:
        """Make a text of the name, which knows the rest."""
        rule = str.__new__(cls, name)
        rule._value_ = name
        rule.subject = subject
        rule.meaning = meaning
        return rule

    UNREADABLE_FILE = (
        "unreadable-file",
        Subject.TEXT,
        "it is no file, cannot be opened, or is no UTF-8; name another, or convert it",
    )
    YAML_SYNTAX = (
        "yaml-syntax",
        Subject.TEXT,
        "it is no YAML; most often quotes are missing there, or in the line above",
    )
    YAML_EXTRA = (
        "yaml-extra",
        Subject.TEXT,
        "anchors, aliases, tags and merge keys are not read; write it out",
    )
    DOCUMENT_COUNT = (
        "document-count",
        Subject.TEXT,
        "a file is one plan; write one, and put others into files of their own",
    )
    JSON_SYNTAX = (
        "json-syntax",
        Subject.TEXT,
        "it is no JSON; comments and commas at the end are not either",
    )
    DUPLICATE_KEY = (
        "duplicate-key",
        Subject.TEXT,
        "a mapping has a key twice; keep one of the two",
    )
    KEY_NOT_TEXT = (
        "key-not-text",
        Subject.TEXT,
        "a key is a number, a boolean or more; put it in quotes",
    )
    UNSTORABLE_TEXT = (
        "unstorable-text",
        Subject.TEXT,
        "a character cannot be stored or printed; remove it",
    )
    NOT_JSON = (
        "not-json",
        Subject.TEXT,
        "a value has a type that JSON has not; make it text, a number or a list",
    )
    NUMBER_RANGE = (
        "number-range",
        Subject.TEXT,
        "an integer is beyond ±2^53, or a number is not finite; write it as text",
    )
    DOCUMENT_SIZE = (
        "document-size",
        Subject.LIMITS,
        "the document has too many bytes or values; move data to where actions read it",
    )
    NESTING = (
        "nesting",
        Subject.LIMITS,
        "lists and mappings stand too deep in each other; make it flatter",
    )
    STEP_COUNT = (
        "step-count",
        Subject.LIMITS,
        "there are too many steps; use `for_each`, or several plans",
    )
    VALUE_SIZE = (
        "value-size",
        Subject.LIMITS,
        "a value is too large to be stored; store it elsewhere, and pass on where",
    )
    MORE_FAULTS = (
        "more-faults",
        Subject.LIMITS,
        "there are more faults than are listed; put right those that are",
    )
    UNKNOWN_FIELD = (
        "unknown-field",
        Subject.FIELDS,
        "there is no such field here; write the one that is meant, or begin it with x-",
    )
    LATER_FIELD = (
        "later-field",
        Subject.FIELDS,
        "the field belongs to a later release; leave it out, or upgrade",
    )
    RESERVED_FIELD = (
        "reserved-field",
        Subject.FIELDS,
        "the name is kept free and means nothing; leave it out",
    )
    EMPTY_FIELD = (
        "empty-field",
        Subject.FIELDS,
        "the field has no value; give it one, or leave it out",
    )
    MISSING_FIELD = ("missing-field", Subject.FIELDS, "the field is required; add it")
    UNKNOWN_FORMAT = (
        "unknown-format",
        Subject.FIELDS,
        "this release reads one version of the format; write `format: 1`",
    )
    WRONG_TYPE = (
        "wrong-type",
        Subject.FIELDS,
        "the value is of another type; nothing is converted, so write the right one",
    )
    WRONG_VALUE = (
        "wrong-value",
        Subject.FIELDS,
        "the value is none of those that the field can have; write one of them",
    )
    WRONG_NAME = (
        "wrong-name",
        Subject.FIELDS,
        "a name has characters that it cannot have, or too many; choose another",
    )
    WRONG_DURATION = (
        "wrong-duration",
        Subject.FIELDS,
        "it is no length of time, or none that fits here; write 30s, 1h30m or 250ms",
    )
    OUT_OF_RANGE = (
        "out-of-range",
        Subject.FIELDS,
        "a number, or the length of a list, is too small or too large; change it",
    )
    FIELD_CLASH = (
        "field-clash",
        Subject.FIELDS,
        "fields contradict each other; drop one of them",
    )
    IDLE_FIELD = (
        "idle-field",
        Subject.FIELDS,
        "the field means nothing without another; add that one, or leave it out",
    )
    DUPLICATE_ID = (
        "duplicate-id",
        Subject.STEPS,
        "two steps have one id; rename one, and who means it",
    )
    UNKNOWN_STEP = (
        "unknown-step",
        Subject.STEPS,
        "no step has this id; write the one that is meant",
    )
    MISSING_NEEDS = (
        "missing-needs",
        Subject.STEPS,
        "others state `needs`, and this one does not; write `needs: []` for a root",
    )
    REPEATED_NEED = ("repeated-need", Subject.STEPS, "a need is named twice; drop one")
    FOREIGN_NEED = (
        "foreign-need",
        Subject.STEPS,
        "nothing waits for fallbacks and steps of the end; drop the need",
    )
    CYCLE = (
        "cycle",
        Subject.STEPS,
        "steps wait for each other, or stand in for each other; remove one link",
    )
    SHARED_FALLBACK = (
        "shared-fallback",
        Subject.STEPS,
        "a step stands in for one other at most; write a fallback for each",
    )
    FOREIGN_RESTORE = (
        "foreign-restore",
        Subject.STEPS,
        "a failure leads back to its own step or to one before; name one of these",
    )
    NO_FIRST_STEP = (
        "no-first-step",
        Subject.STEPS,
        "all steps are steps of the end; write one that runs before",
    )
    ENDLESS_END = (
        "endless-end",
        Subject.STEPS,
        "a step of the end has no `deadline`; give it one",
    )
    UNKNOWN_PROFILE = (
        "unknown-profile",
        Subject.STEPS,
        "no profile has this name; declare it, or write the one that is meant",
    )
    UNKNOWN_ERROR = (
        "unknown-error",
        Subject.STEPS,
        "`on` or `not_on` names no error; write a builtin, an import path or a code",
    )
    WAIT_ORDER = (
        "wait-order",
        Subject.STEPS,
        "the first wait of a retry is longer than the longest; change one of them",
    )
    EXPRESSION_SYNTAX = (
        "expression-syntax",
        Subject.EXPRESSIONS,
        "the text is no expression; see which character it stops at",
    )
    EXPRESSION_LIMIT = (
        "expression-limit",
        Subject.EXPRESSIONS,
        "an expression is too long or too deep; let an action work it out",
    )
    UNKNOWN_FUNCTION = (
        "unknown-function",
        Subject.EXPRESSIONS,
        "there is no such function or method; write one of the language's",
    )
    UNKNOWN_NAME = (
        "unknown-name",
        Subject.EXPRESSIONS,
        "nothing has this name here; write parameters.…, steps.… or execution.…",
    )
    UNKNOWN_STATUS = (
        "unknown-status",
        Subject.EXPRESSIONS,
        "a status is compared with a word that is none; write one of the states",
    )
    NO_VALUE = (
        "no-value",
        Subject.EXPRESSIONS,
        "the path stops before a value; go on to a part of it",
    )
    UNSETTLED_STEP = (
        "unsettled-step",
        Subject.EXPRESSIONS,
        "the step need not have ended by then; wait for it, or move it up",
    )
    VALUE_IN_TEXT = (
        "value-in-text",
        Subject.EXPRESSIONS,
        "what is no text, number or boolean stands inside text; name a part of it",
    )
    COMPUTED_KEY = (
        "computed-key",
        Subject.EXPRESSIONS,
        "the key of `concurrency` is made of texts and parameters alone; name one",
    )
    WRONG_SECRET = (
        "wrong-secret",
        Subject.EXPRESSIONS,
        "a secret is the whole text of a step's input; move it there, and name it so",
    )
    UNKNOWN_PARAMETER = (
        "unknown-parameter",
        Subject.PARAMETERS,
        "the plan has no such parameter; declare it, or write the one that is meant",
    )
    WRONG_DECLARATION = (
        "wrong-declaration",
        Subject.PARAMETERS,
        "the declaration makes no sense with its type; change one of the two",
    )
    UNFIT_DEFAULT = (
        "unfit-default",
        Subject.PARAMETERS,
        "a default, a choice or a bound does not fit its own declaration; change one",
    )
    MISSING_PARAMETER = (
        "missing-parameter",
        Subject.PARAMETERS,
        "a required parameter was not given at the submit; give it",
    )
    UNFIT_PARAMETER = (
        "unfit-parameter",
        Subject.PARAMETERS,
        "a value given at the submit does not fit the declaration; give another",
    )
    WRONG_SUBMIT = (
        "wrong-submit",
        Subject.PARAMETERS,
        "what goes with the parameters is wrong: a key, a priority, a line of a file",
    )
    UNKNOWN_ACTION = (
        "unknown-action",
        Subject.ACTIONS,
        "no worker has published it; start one that has it, or write the right name",
    )
    UNKNOWN_STRATEGY = (
        "unknown-strategy",
        Subject.ACTIONS,
        "no worker has published it; start one that has it, or write the right name",
    )
    UNKNOWN_PLAN = (
        "unknown-plan",
        Subject.ACTIONS,
        "no plan is published under the name; publish it, or write the right one",
    )
    MISSING_INPUT = (
        "missing-input",
        Subject.ACTIONS,
        "the action requires an input that `with` does not have; add it",
    )
    UNKNOWN_INPUT = (
        "unknown-input",
        Subject.ACTIONS,
        "the action has no such input; drop it, or write the one that is meant",
    )
    UNFIT_INPUT = (
        "unfit-input",
        Subject.ACTIONS,
        "an input does not fit the type that the action states; give another",
    )
    CANVAS_LOSS = (
        "canvas-loss",
        Subject.CANVASES,
        "a plan cannot say it; change the canvas, or take it with `lossy=True`",
    )
    NO_TIMEOUT = (
        "no-timeout",
        Subject.ODDITIES,
        "steps can run for ever; state a `timeout`, or a `deadline`",
    )
    IDLE_ROLLBACK = (
        "idle-rollback",
        Subject.ODDITIES,
        "`undo` without `rollback`, or the other way round; state both, or neither",
    )
    IDLE_TOLERATE = (
        "idle-tolerate",
        Subject.ODDITIES,
        "`tolerate` without `on_failure: skip` never comes to count; state both",
    )
    CONSTANT_UNTIL = (
        "constant-until",
        Subject.ODDITIES,
        "the condition of a loop never changes; name `last` or `index` in it",
    )
    PARTIAL_UNDO = (
        "partial-undo",
        Subject.ODDITIES,
        "items that completed before another failed are not undone; skip failures",
    )
    UNUSED_NAME = (
        "unused-name",
        Subject.ODDITIES,
        "nothing reads a parameter or profile; use it, or remove it",
    )
    NO_RESULT = (
        "no-result",
        Subject.ODDITIES,
        "several steps end the plan, so its result is null; write a `result`",
    )
    RESULT_GAP = (
        "result-gap",
        Subject.ODDITIES,
        "what is read is missing if that step did not complete; ask for its status",
    )
    FAILING_STEP = (
        "failing-step",
        Subject.ODDITIES,
        "with these parameters an expression fails; give others, or change it",
    )
    LOST_OPTION = (
        "lost-option",
        Subject.ODDITIES,
        "a part of a canvas was left out, as `lossy=True` allows",
    )

    @property
    def code(self) -> str:
        """The code of its class."""
        return WARNING_CODE if self.subject is Subject.ODDITIES else FAULT_CODE
