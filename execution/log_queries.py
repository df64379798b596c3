"""What steps told, read back: their lines and metrics.

Reads only. A page of lines comes with the state that the execution had at the same
moment: one that has ended tells no more, so who has read its last page has read all.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .observations import LineLevel, LogLine, Metric
from .sessions import Sessions
from .states import ExecutionStatus

_LINES = """
SELECT e.status, l.*
  FROM {schema}.executions e LEFT JOIN LATERAL (
       SELECT t.id, t.execution_id, s.name AS step, t.attempt, t.number, t.level,
              t.source, t.message, t.at
         FROM {schema}.execution_logs t
         JOIN {schema}.execution_steps s
           ON s.execution_id = t.execution_id AND s."position" = t."position"
        WHERE t.execution_id = e.id AND t.id > %s
          AND (%s IS NULL OR t."position" IN (
               SELECT o."position" FROM {schema}.execution_steps o
                WHERE o.execution_id = e.id AND (o.name = %s OR o.item_of = (
                      SELECT p."position" FROM {schema}.execution_steps p
                       WHERE p.execution_id = e.id AND p.name = %s))))
          AND t.level = ANY (%s)
        ORDER BY t.id LIMIT %s) l ON true
 WHERE e.id = %s
 ORDER BY l.id
"""

_METRICS = """
SELECT m.execution_id, s.name AS step, m.attempt, m.name, m.value, m.at
  FROM {schema}.execution_metrics m
  JOIN {schema}.execution_steps s
    ON s.execution_id = m.execution_id AND s."position" = m."position"
 WHERE m.execution_id = %s
 ORDER BY m.id
"""


@dataclass(frozen=True)
class LinePage:
    """Lines of an execution in their order, and its state at that moment."""

    status: ExecutionStatus
    lines: tuple[LogLine, ...]


class LogQueries(Sessions):
    """Reads of what steps told; `ExecutionQueries` has them too."""

    def read_lines(
        self,
        execution_id: str,
        *,
        step: str | None = None,
        level: LineLevel = LineLevel.DEBUG,
        after: int = 0,
        limit: int = 1000,
    ) -> LinePage | None:
        """Return up to `limit` lines with an id above `after`; None: no execution.

        They are those of `step`, or of its items and iterations, and of `level` or
        above.
        """
        levels = [str(one) for one in level.and_above()]
        rows = self._database.query(
            _LINES, (after, step, step, step, levels, limit, execution_id)
        )
        if not rows:
            return None
        lines = tuple(_read_line(row) for row in rows if row["id"] is not None)
        return LinePage(ExecutionStatus(rows[0]["status"]), lines)

    def list_metrics(self, execution_id: str) -> tuple[Metric, ...]:
        """Return what the steps of an execution reported, in the order of writing."""
        rows = self._database.query(_METRICS, (execution_id,))
        return tuple(Metric(**{**row, "execution_id": execution_id}) for row in rows)


def _read_line(row: Mapping[str, Any]) -> LogLine:
    fields = {name: value for name, value in row.items() if name != "status"}
    return LogLine(**{**fields, "level": LineLevel(row["level"])})
