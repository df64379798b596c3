"""Every error this package raises on purpose, in one tree.

    PlansError
    ├── PlanError                        change the plan or the call
    │   ├── PlanValidationError    E001  the document has faults, all listed
    │   │   └── ParameterError     E001  the parameters do not fit the plan
    │   ├── FilterError                  a list is asked for what it cannot answer
    │   ├── BatchRequestError            what is asked of many executions is no act
    │   ├── BatchNotFoundError           no such batch
    │   ├── InvalidBatchStateError       the batch does not stand so that this could be
    │   ├── PlanNotFoundError            no plan was published under the name
    │   ├── PlanVersionConflictError     the version is published with another body
    │   ├── ActionNotFoundError          no worker has published the action
    │   ├── SubmissionConflictError      the idempotency key has another body
    │   ├── ConcurrencyConflictError     others have the key, and the plan rejects
    │   ├── SignalNotAwaitedError        no step of the plan waits for the signal
    │   ├── SignalConflictError          the key of a signal belongs to another one
    │   ├── ScheduleError                a schedule cannot be meant, or is there already
    │   ├── ScheduleNotFoundError        no such schedule
    │   ├── CursorError                  no cursor of ours, or not of this use
    │   └── ActionRegistrationError      the decorated function cannot be an action
    ├── SetupError                       change the installation
    │   ├── SettingsError                a setting is missing, unknown or wrong
    │   ├── SchemaMismatchError          the database needs `plans db upgrade`
    │   ├── LocalStackError              a server of the local stack cannot run
    │   └── RehearsalError               a test asks for what its rehearsal cannot do
    ├── ExecutionError                   about one execution or step
    │   ├── ExecutionNotFoundError E012  no such execution
    │   ├── StepNotFoundError      E012  the execution has no such step
    │   ├── InvalidExecutionStateError E011 the act is not for where it stands
    │   ├── ExecutionNotFinishedError    asked for a result too early
    │   ├── ExecutionFailedError   E003  the execution ended without success
    │   ├── StepTimeoutError       E002  an attempt outlived its timeout
    │   ├── ExecutionCancelledError E004 the execution is being cancelled
    │   ├── RetryExhaustedError    E005  all attempts are used up
    │   ├── ExpressionError        E007  a condition or an input could not be evaluated
    │   ├── WorkerLostError        E008  the worker of an attempt vanished
    │   ├── ActionExitError        E003  the code tried to end its process
    │   ├── ActionInputError       E003  the inputs do not fit the action's parameters
    │   ├── SubplanError           E003  the plan that a step names cannot be begun
    │   ├── SecretError            E003  a secret that the inputs name is not there
    │   ├── LoopExhaustedError     E003  a loop has come to its bound
    │   ├── ResultError            E003  a step returned what JSON cannot hold
    │   ├── PayloadError           E003  a large value could not be written or read
    │   │   └── PayloadLostError   E003  it is not there, or is not what was written
    │   ├── RetryableError         E003  the code asks for another attempt
    │   ├── FatalError             E003  the code says that no other attempt helps
    │   └── StaleLeaseError              the holder no longer holds the step
    ├── ProgramError                     change the program that calls
    │   ├── ServiceClosedError           the service is not open
    │   ├── BackgroundTaskNotFoundError  no background task has the id, or not any more
    │   └── BackgroundTaskLimitError     as many wait as may
    └── ServerError                      try again later
        ├── DatabaseError          E006  PostgreSQL refused or went away
        └── BrokerError                  the broker did not take a message

The first level says who acts: the author of the plan, the one who installs, the
one who looks after an execution, the author of the program, or nobody but time.
This module knows nothing of the rest of the package.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar


class ErrorCode(StrEnum):
    """Stable codes, stored and shown; new ones are added, none is renumbered."""

    VALIDATION = "E001"
    TIMEOUT = "E002"
    EXECUTION = "E003"
    CANCELLED = "E004"
    RETRY_EXHAUSTED = "E005"
    DATABASE = "E006"
    EXPRESSION = "E007"
    WORKER_LOST = "E008"
    RESOURCE_UNAVAILABLE = "E009"
    IN_DOUBT = "E010"
    INVALID_STATE = "E011"
    NOT_FOUND = "E012"


class PlansError(Exception):
    """Root of the tree; `code` is set where the error has a stable number."""

    code: ClassVar[ErrorCode | None] = None


class PlanError(PlansError):
    """The plan or the call must change."""


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong in a document.

    `place` is a path such as `steps[3].needs[0]`; `line` and `column` count from
    one and are None when the document did not come from text. `rule` is the stable
    name of what is wrong, such as `unknown-step`.
    """

    place: str
    message: str
    line: int | None = None
    column: int | None = None
    rule: str = field(kw_only=True)

    def __str__(self) -> str:
        at = f" (line {self.line}, column {self.column})" if self.line else ""
        return f"{self.place}{at}: {self.message}"


class PlanValidationError(PlanError):
    """A plan document has faults; `faults` holds every one of them."""

    code = ErrorCode.VALIDATION

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        self.faults = faults
        super().__init__("\n".join(str(fault) for fault in faults))

    def __reduce__(self) -> tuple[object, ...]:
        # by itself an error is made anew from its text
        return type(self), (self.faults,), self.__dict__


class ParameterError(PlanValidationError):
    """The parameters given to a plan do not fit its declaration."""


class FilterError(PlanError):
    """A filter is none; the message says which part, and what can be asked."""


class BatchRequestError(PlanError):
    """What is asked of many executions cannot be; the message says what can."""


class BatchNotFoundError(PlanError):
    """No batch has this id."""


class InvalidBatchStateError(PlanError):
    """The batch is in a state that does not allow the move."""


class PlanNotFoundError(PlanError):
    """No plan was published under this name, or not in this version."""


class PlanVersionConflictError(PlanError):
    """This version of the plan was published before, and said something else."""


class ActionNotFoundError(PlanError):
    """No worker has published an action of this name."""


class SubmissionConflictError(PlanError):
    """The idempotency key was used before with another plan or parameters."""


class ConcurrencyConflictError(PlanError):
    """The plan rejects an execution whose key others have; `holders` are those."""

    def __init__(self, message: str, holders: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.holders = holders


class SignalNotAwaitedError(PlanError):
    """No step of the execution's plan could ever take a signal of this name."""


class SignalConflictError(PlanError):
    """The key was used before, for a signal of another name or payload."""


class ScheduleError(PlanError):
    """A schedule says what cannot be meant, or its name is taken."""


class ScheduleNotFoundError(PlanError):
    """There is no schedule of that name."""


class CursorError(PlanError):
    """What was given to continue after is no cursor, or one of another use."""


class ActionRegistrationError(PlanError):
    """A function cannot be registered as an action."""


class SetupError(PlansError):
    """The installation must change."""


class SettingsError(SetupError):
    """A setting is missing, unknown or has a wrong value."""


class SchemaMismatchError(SetupError):
    """The database's schema is not the one this release needs."""


class LocalStackError(SetupError):
    """A server of the local stack cannot be found, started or reached."""


class RehearsalError(SetupError):
    """A test asks for something that cannot be done in its process, or not so."""


class ExecutionError(PlansError):
    """About one execution, or one step of it."""


class ExecutionNotFoundError(ExecutionError):
    """No execution has this id."""

    code = ErrorCode.NOT_FOUND


class StepNotFoundError(ExecutionError):
    """The execution has no step of this name."""

    code = ErrorCode.NOT_FOUND


class InvalidExecutionStateError(ExecutionError):
    """The execution, or its step, is in a state that does not allow the act."""

    code = ErrorCode.INVALID_STATE


class ExecutionNotFinishedError(ExecutionError):
    """The execution has no result yet."""


class ExecutionFailedError(ExecutionError):
    """The execution ended, and not with success."""

    code = ErrorCode.EXECUTION


class StepTimeoutError(ExecutionError):
    """An attempt outlived its timeout."""

    code = ErrorCode.TIMEOUT


class ExecutionCancelledError(ExecutionError):
    """The execution is being cancelled; the step should return."""

    code = ErrorCode.CANCELLED


class RetryExhaustedError(ExecutionError):
    """Every attempt of a step ended in an error."""

    code = ErrorCode.RETRY_EXHAUSTED


class ExpressionError(ExecutionError):
    """An expression names something that is not there, or has the wrong type."""

    code = ErrorCode.EXPRESSION


class WorkerLostError(ExecutionError):
    """The process that ran an attempt vanished."""

    code = ErrorCode.WORKER_LOST


class ActionExitError(ExecutionError):
    """The code of an action called `sys.exit`, or cancelled itself."""

    code = ErrorCode.EXECUTION


class ActionInputError(ExecutionError):
    """The inputs of a step do not fit the parameters of its action."""

    code = ErrorCode.EXECUTION


class SubplanError(ExecutionError):
    """The plan that a step names is not published, or does not take its inputs."""

    code = ErrorCode.EXECUTION


class SecretError(ExecutionError):
    """A secret that the inputs of a step name is not to be had."""

    code = ErrorCode.EXECUTION


class LoopExhaustedError(ExecutionError):
    """All iterations of a loop have run, and its condition is still false."""

    code = ErrorCode.EXECUTION


class ResultError(ExecutionError):
    """A step returned something that cannot be stored as JSON."""

    code = ErrorCode.EXECUTION


class PayloadError(ExecutionError):
    """A large value could not be written or read; the same may work later."""

    code = ErrorCode.EXECUTION


class PayloadLostError(PayloadError):
    """A large value is not where it was written, or is not what was written."""


class RetryableError(ExecutionError):
    """For the code of an action to raise: this failed, and may work later.

    `retry_after_seconds` is the least time until the next attempt, one day at most;
    None leaves it to the policy of the step. `retry_after` holds it. Another attempt
    follows whatever `on` of the policy says, unless `not_on` names this error or the
    attempts are used up.
    """

    code = ErrorCode.EXECUTION

    def __init__(
        self, message: str, *, retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after_seconds


class FatalError(ExecutionError):
    """For the code of an action to raise: another attempt would not help."""

    code = ErrorCode.EXECUTION


class StaleLeaseError(ExecutionError):
    """The attempt no longer holds its step; nothing it writes is kept."""


class ProgramError(PlansError):
    """The program that calls must change."""


class ServiceClosedError(ProgramError):
    """The service is not open: not yet, or not any more."""


class BackgroundTaskNotFoundError(ProgramError):
    """No background task has this id; one that has ended may be forgotten."""


class BackgroundTaskLimitError(ProgramError):
    """As many background tasks wait for a place as may."""


class ServerError(PlansError):
    """A server refused or went away; the same call may succeed later."""


class DatabaseError(ServerError):
    """PostgreSQL refused the statement or the connection broke."""

    code = ErrorCode.DATABASE


class BrokerError(ServerError):
    """The broker did not confirm that it took a message."""
