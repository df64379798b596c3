"""What keeps steps from running, read from PostgreSQL in one moment.

Reads only. What follows from the facts is decided in `obstacles`.
"""

from .errors import StepNotFoundError
from .obstacles import Standstill, explain_standstill
from .sessions import Sessions


class StandstillQueries(Sessions):
    """Reads of steps that do not run; `ExecutionQueries` has them too."""

    def find_standstill(
        self,
        execution_id: str,
        *,
        step: str | None,
        lease_seconds: float,
        most_steps: int,
    ) -> Standstill | None:
        """Return why steps of an execution do not run; None: there is no such one.

        Of `step` alone, or of up to `most_steps` steps. Raises StepNotFoundError when
        there is no such step.
        """
        facts = self._call(
            "read_standstill", execution_id, step, lease_seconds, most_steps
        )["read_standstill"]
        if facts is None:
            return None
        if not facts["is_known"]:
            raise StepNotFoundError(
                f"execution {execution_id} has no step {step!r};"
                f" see `plans show {execution_id}`"
            )
        return explain_standstill(facts)
