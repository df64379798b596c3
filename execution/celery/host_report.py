"""Which settings of a team's own Celery app work against plans, and how to mend it.

Plans need no setting of an app, and change none. A few work against them all the same:
most cost time, some let steps end that should go on, and with one no step could ever
begin. Each is a row of a table here, with what follows from it and the fix.

Promises: a pure function of the settings. What is harmless, because neither the task of
steps nor the dispatcher heeds it (`task_routes`, `task_annotations`, `task_acks_late`,
`task_protocol`, `task_default_rate_limit` and others), has no row.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum

from celery import Celery

from ..settings import Settings
from .host_settings import HostSettings

logger = logging.getLogger(__name__)

_JSON = frozenset(("json", "application/json"))
_POOLS = frozenset((None, "prefork", "processes", "threads", "thread", "solo"))
_REDIS = frozenset(("redis", "rediss", "unix", "valkey"))
_TRIED = _REDIS | {"", "amqp", "amqps", "pyamqp", "memory"}
_MOST_PREFETCHED = 4
_LEAST_TASKS = 10
_LEAST_KILOBYTES = 100_000
_LEAST_TRIES = 100


class Severity(StrEnum):
    """How much a setting works against plans."""

    REFUSED = "refused"
    """No step could run: a worker with plans does not start."""
    RISK = "risk"
    """Steps are ended, held back or done again that need not be."""
    COST = "cost"
    """All is well, but slower, or dearer, than it needs to be."""


@dataclass(frozen=True)
class SettingFinding:
    """A setting that works against plans.

    `value` is as it may be shown, `effect` what follows from it, `fix` what to do.
    """

    setting: str
    value: str
    severity: Severity
    effect: str
    fix: str

    def __str__(self) -> str:
        """Return all of it on one line."""
        return f"{self.setting} = {self.value}: {self.effect}; {self.fix}"


def report_settings(
    app: Celery, settings: Settings | None = None
) -> tuple[SettingFinding, ...]:
    """Return what of the settings of `app` works against plans, the worst first.

    `settings` are those of plans, by default the environment's. Raises SettingsError
    for an environment that cannot be read.
    """
    plans = settings or Settings.from_environment()
    return find_settings(HostSettings.of_app(app, plans))


def find_settings(host: HostSettings) -> tuple[SettingFinding, ...]:
    """Return what works against plans, the worst first."""
    order = list(Severity)
    words = {"queue": host.plans.queue, "seconds": f"{host.visible_seconds:g}"}
    found = (
        SettingFinding(
            rule.setting,
            host.show(rule.setting),
            rule.severity,
            rule.effect.format(**words),
            rule.fix.format(**words),
        )
        for rule in _RULES
        if rule.is_broken(host)
    )
    return tuple(sorted(found, key=lambda finding: order.index(finding.severity)))


def refuse_settings(findings: Sequence[SettingFinding]) -> None:
    """End a worker that could never run a step: raises SystemExit with the reasons."""
    refused = [str(one) for one in findings if one.severity is Severity.REFUSED]
    if refused:
        raise SystemExit(f"celery-plans: {'; '.join(refused)}")


def tell_settings(findings: Sequence[SettingFinding]) -> None:
    """Log what works against plans in a worker that starts."""
    for finding in findings:
        level = logging.INFO if finding.severity is Severity.COST else logging.WARNING
        logger.log(
            level,
            # not in `extra` alone: Celery's own format of logs leaves that out
            "a setting of the app works against plans: %s",
            finding,
            extra=asdict(finding),
        )


@dataclass(frozen=True)
class _Rule:
    """What is looked for; `effect` and `fix` may name the {queue} and {seconds}."""

    setting: str
    severity: Severity
    is_broken: Callable[[HostSettings], bool]
    effect: str
    fix: str


def _lacks_json(host: HostSettings) -> bool:
    accepted = host["accept_content"]
    return accepted is not None and not _JSON & {str(kind) for kind in accepted}


def _is_seen_again(host: HostSettings) -> bool:
    timeout = host.find_option("visibility_timeout")
    return timeout is not None and float(timeout) < host.visible_seconds


def _gives_up_early(host: HostSettings) -> bool:
    tries = host["broker_connection_max_retries"]
    return tries is not None and 0 < tries < _LEAST_TRIES


def _is_below(setting: str, least: int) -> Callable[[HostSettings], bool]:
    return lambda host: bool(host[setting]) and host[setting] < least


def _leaves_queue_out(host: HostSettings) -> bool:
    return host.served is None and host.plans.queue not in host.declared_queues


def _serves_others(host: HostSettings) -> bool:
    return host.served is not None and host.plans.queue not in host.served


def _cannot_make_queue(host: HostSettings) -> bool:
    is_bound = host["task_create_missing_queues"] is False
    return is_bound and host.plans.queue not in host.declared_queues


_RULES = (
    _Rule(
        "accept_content",
        Severity.REFUSED,
        _lacks_json,
        "workers throw every message of a step away, for it is JSON",
        "add 'json' to it",
    ),
    _Rule(
        "broker_url",
        Severity.RISK,
        lambda host: host.names_another_broker,
        "PLANS_BROKER_URL names another broker, so what is submitted waits until a"
        " reconciler takes its message for lost",
        "let both name the same one",
    ),
    _Rule(
        "broker_url",
        Severity.RISK,
        lambda host: host.transport == "memory",
        "no message leaves the process that sends it: steps wait for a reconciler",
        "use Redis, Valkey or RabbitMQ",
    ),
    _Rule(
        "broker_url",
        Severity.COST,
        lambda host: host.transport not in _TRIED,
        "plans have never been tried with this broker; what it loses is sent again,"
        " but that takes time",
        "prefer Redis, Valkey or RabbitMQ",
    ),
    _Rule(
        "broker_transport_options.global_keyprefix",
        Severity.RISK,
        lambda host: bool(host.find_option("global_keyprefix")),
        "what an engine without this app submits waits until a reconciler takes its"
        " message for lost",
        "submit through ExecutionEngine.connect(app=app)",
    ),
    _Rule(
        "broker_transport_options.visibility_timeout",
        Severity.COST,
        _is_seen_again,
        "messages of steps that run are delivered once more; each costs a look at"
        " PostgreSQL, where it is dropped",
        "make it {seconds} or more",
    ),
    _Rule(
        "broker_transport_options.socket_timeout",
        Severity.COST,
        lambda host: (
            host.transport in _REDIS and host.find_option("socket_timeout") is None
        ),
        "a Redis that hangs holds the steps that have something to send",
        "set it to a few seconds",
    ),
    _Rule(
        "broker_connection_retry",
        Severity.RISK,
        lambda host: host["broker_connection_retry"] is False,
        "a worker ends when it loses its broker, and its steps with it",
        "leave it True",
    ),
    _Rule(
        "broker_connection_max_retries",
        Severity.COST,
        _gives_up_early,
        "a worker ends when its broker is away for long, and its steps with it",
        "set it to None",
    ),
    _Rule(
        "broker_connection_retry_on_startup",
        Severity.COST,
        lambda host: host["broker_connection_retry_on_startup"] is False,
        "a worker that starts before its broker ends at once",
        "set it to True",
    ),
    _Rule(
        "broker_pool_limit",
        Severity.COST,
        lambda host: not host.values.get("broker_pool_limit", True),
        "each message is sent over a connection of its own",
        "set it to 1 or more",
    ),
    _Rule(
        "task_time_limit",
        Severity.RISK,
        lambda host: bool(host["task_time_limit"]),
        "Celery ends steps after that many seconds, whatever their timeout says, and"
        " rides are cut short to leave room",
        "leave it unset, or make it longer than the longest timeout of a step",
    ),
    _Rule(
        "task_soft_time_limit",
        Severity.RISK,
        lambda host: bool(host["task_soft_time_limit"]),
        "Celery interrupts steps after that many seconds, whatever their timeout says,"
        " and rides are cut short to leave room",
        "leave it unset, or make it longer than the longest timeout of a step",
    ),
    _Rule(
        "worker_cancel_long_running_tasks_on_connection_loss",
        Severity.RISK,
        lambda host: bool(host["worker_cancel_long_running_tasks_on_connection_loss"]),
        "when the broker is lost, steps that run are killed and run again, and each"
        " time counts against their max_lost",
        "set it to False",
    ),
    _Rule(
        "task_always_eager",
        Severity.RISK,
        lambda host: bool(host["task_always_eager"]),
        "steps run in workers as ever, but a task that an action sends by delay() runs"
        " within its step, and nobody knows of it",
        "set it in tests alone",
    ),
    _Rule(
        "worker_pool",
        Severity.RISK,
        lambda host: host.pool not in _POOLS,
        "workers with it run no steps; one that serves {queue}, the queue of steps that"
        " name none, does not start",
        "serve the queues of plans with prefork, threads or solo",
    ),
    _Rule(
        "worker_max_tasks_per_child",
        Severity.COST,
        _is_below("worker_max_tasks_per_child", _LEAST_TASKS),
        "a new process, with connections of its own, begins every few messages",
        f"make it {_LEAST_TASKS} or more",
    ),
    _Rule(
        "worker_max_memory_per_child",
        Severity.COST,
        _is_below("worker_max_memory_per_child", _LEAST_KILOBYTES),
        "it is in kilobytes, and a process that runs steps has about as much from the"
        " start: it is replaced after every message",
        f"make it {_LEAST_KILOBYTES} or more",
    ),
    _Rule(
        "worker_prefetch_multiplier",
        Severity.RISK,
        lambda host: host["worker_prefetch_multiplier"] == 0,
        "one worker takes all messages there are, and the others stand idle",
        "set it to 1",
    ),
    _Rule(
        "worker_prefetch_multiplier",
        Severity.COST,
        lambda host: (host["worker_prefetch_multiplier"] or 0) > _MOST_PREFETCHED,
        "messages wait behind a long step while other workers stand idle",
        "set it to 1",
    ),
    _Rule(
        "task_compression",
        Severity.COST,
        lambda host: bool(host["task_compression"]),
        "messages of steps are a kilobyte or two; to compress them takes longer than"
        " to send them",
        "leave it unset, and compress the tasks that carry much",
    ),
    _Rule(
        "task_send_sent_event",
        Severity.COST,
        lambda host: bool(host["task_send_sent_event"]),
        "each message of a step is told by another one",
        "leave it False, if nothing watches task-sent",
    ),
    _Rule(
        "task_queues",
        Severity.RISK,
        _leaves_queue_out,
        "a worker that is started without -Q does not serve {queue}, the queue of steps"
        " that name none",
        "start a worker with -Q {queue}, or set PLANS_QUEUE to a queue that is served",
    ),
    _Rule(
        "task_queues",
        Severity.COST,
        _serves_others,
        "this worker does not serve {queue}, the queue of steps that name none; if no"
        " other does, they wait",
        "start a worker with -Q {queue}, or set PLANS_QUEUE to a queue that is served",
    ),
    _Rule(
        "task_create_missing_queues",
        Severity.RISK,
        _cannot_make_queue,
        "no worker can be started that serves {queue}, the queue of steps that name"
        " none",
        "add Queue('{queue}') to task_queues, or set PLANS_QUEUE to one of them",
    ),
)
