"""Celery's settings for the stand-alone app; each line says why.

`celery -A workers.app worker` uses them as they are. A project that registers plans
in its own app keeps its own settings: nothing here is needed for correctness, which
rests on PostgreSQL alone.
"""

import ssl
from pathlib import Path

from celery_plans.settings import Settings

_settings = Settings.from_environment()

# Where messages go. Losing them costs latency, not work.
broker_url = _settings.broker_url
# The queue of steps that name none.
task_default_queue = _settings.queue

# No step's state is ever read from Celery: results would be a write nobody reads.
result_backend = None
task_ignore_result = True
# JSON only: a message must never be able to run code.
task_serializer = "json"
accept_content = ["json"]

# A delivery stays in hand until its step is recorded.
task_acks_late = True
task_reject_on_worker_lost = True
# Celery's own retry of lost workers would come 180 s later, behind PostgreSQL's back.
task_retry_on_worker_lost = False
# One message ahead for each slot: more would wait behind a long step.
worker_prefetch_multiplier = 1

# Steps go on while the broker is away; what they report is fenced, not lost.
worker_cancel_long_running_tasks_on_connection_loss = False
# A worker waits for its broker for as long as it takes.
broker_connection_retry_on_startup = True
broker_connection_max_retries = None
# One that takes no connection within this time is away; senders must not wait for it.
broker_connection_timeout = 2
# Where Celery itself sends something, it tries once more, at once, and that is all.
task_publish_retry_policy = {
    "max_retries": 1,
    "interval_start": 0,
    "interval_step": 0.2,
    "interval_max": 0.2,
}
# How long running steps may take when the worker is to stop is for plans to say
# (PLANS_DRAIN_SECONDS): they are given back before their processes are ended.
worker_soft_shutdown_timeout = 0


def choose_transport_options(url: str | None) -> dict[str, object]:
    """Return what the broker's transport is told."""
    if (url or "").startswith(("amqp", "pyamqp")):
        # Without a confirmation, what is sent into a broker that stops is lost unseen.
        return {"confirm_publish": True, "write_timeout": 3}
    return {
        # Redis need not keep what is in hand: reconcilers see that in PostgreSQL, and
        # each message would cost it a write more when it comes and another when done.
        "ack_emulation": False,
        # One that hangs is away: what waits for it is a step that is recorded already.
        "socket_timeout": 3,
        "socket_connect_timeout": 2,
        "socket_keepalive": True,
    }


def choose_tls(url: str | None, authorities: Path | None) -> dict[str, object] | None:
    """Return how RabbitMQ has to prove who it is; Redis's URL says that by itself."""
    if not any(each.lower().startswith("amqps") for each in (url or "").split(";")):
        return None
    return {
        "cert_reqs": ssl.CERT_REQUIRED,
        "ca_certs": authorities and str(authorities),
        # None: the one that the URL names; without the key, any host would do
        "server_hostname": None,
    }


broker_use_ssl = choose_tls(broker_url, _settings.tls_ca)
broker_transport_options = choose_transport_options(broker_url)
