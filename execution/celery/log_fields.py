"""Shows, at the end of this package's log lines, what they are about.

Our messages are constant, and their ids stand in `extra`: good for programs that read
records, lost in Celery's format of lines. In the stand-alone app they follow the
message as `key=value`. An app of somebody's own keeps its lines as it wants them.

Promises: what a value holds breaks no line and shows no password of a URL, and the
fields are of bounded length; lines of others are left alone. Knows no message by name.
"""

import copy
import logging
from typing import Any

from ..masking import mask

_PACKAGE = str(__package__).partition(".")[0]
_USUAL = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""What every record has; all else came in `extra`."""
_MOST_IN_VALUE = 300
_MOST_IN_LINE = 1_000


class FieldsFormatter(logging.Formatter):
    """Formats as another one does, with our `extra` at the end of the message."""

    def __init__(self, usual: logging.Formatter) -> None:
        """Format as `usual`."""
        super().__init__()
        self._usual = usual

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; its traceback, if it has one, comes after the fields."""
        if record.name.partition(".")[0] == _PACKAGE:
            record = _with_fields(record)
        return self._usual.format(record)


def show_fields(logger: logging.Logger, **_: Any) -> None:
    """Let the handlers of `logger` show them: for the signal `after_setup_logger`."""
    for handler in logger.handlers:
        usual = handler.formatter
        if usual is not None and not isinstance(usual, FieldsFormatter):
            handler.setFormatter(FieldsFormatter(usual))


def _with_fields(record: logging.LogRecord) -> logging.LogRecord:
    message = record.getMessage()
    fields = [
        f"{name}={_write_value(value)}"
        for name, value in vars(record).items()
        if name not in _USUAL and value is not None and not _is_told(record, value)
    ]
    shown = copy.copy(record)
    shown.msg = " ".join([message, " ".join(fields)[:_MOST_IN_LINE]]).rstrip()
    shown.args = ()
    return shown


def _is_told(record: logging.LogRecord, value: object) -> bool:
    """Say whether a message that was made of values has this one among them."""
    return bool(record.args) and str(value) in record.getMessage()


def _write_value(value: object) -> str:
    # errors of servers and libraries, which are causes here, quote URLs
    text = mask(str(value))
    cut = text if len(text) <= _MOST_IN_VALUE else f"{text[:_MOST_IN_VALUE]}..."
    plain = "".join(one if one.isprintable() else _escape(one) for one in cut)
    needs_quotes = not plain or any(one in plain for one in ' "=')
    return '"{}"'.format(plain.replace('"', '\\"')) if needs_quotes else plain


def _escape(control: str) -> str:
    return control.encode("unicode_escape").decode("ascii")
