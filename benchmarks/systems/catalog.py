"""Every system, in the order of the tables.

Not in `__init__`: a worker of one system must not import what the others need.
"""

from benchmarks.systems.bare_transaction import BARE_ONE, BARE_TWO
from benchmarks.systems.celery_plans import (
    PLANS,
    PLANS_RABBITMQ,
    PLANS_SOLO,
    PLANS_THREADS,
)
from benchmarks.systems.dbos_queue import DBOS_QUEUE
from benchmarks.systems.procrastinate_jobs import PROCRASTINATE
from benchmarks.systems.raw_celery import RAW, RAW_POSTGRES, RAW_REDIS
from benchmarks.systems.system import System

SYSTEMS: tuple[System, ...] = (
    RAW,
    RAW_REDIS,
    RAW_POSTGRES,
    PLANS,
    PLANS_THREADS,
    PLANS_SOLO,
    PLANS_RABBITMQ,
    DBOS_QUEUE,
    PROCRASTINATE,
    BARE_ONE,
    BARE_TWO,
)
