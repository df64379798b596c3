"""Orders and their executions: both are there, or neither."""

from functools import cache
from pathlib import Path

from django.db import connection, transaction

from execution import ExecutionEngine, Plan
from execution.django import read_settings

from .models import Order

PLAN = Plan.from_file(Path(__file__).with_name("deliver.yaml"))


@cache
def open_engine() -> ExecutionEngine:
    """Return the engine of this process, connected when it is first needed."""
    return ExecutionEngine.connect(read_settings())


@transaction.atomic
def place(article: str) -> Order:
    """Store an order and submit its delivery, in one transaction.

    The execution begins when that commits: of this block, or of the one around it.
    """
    order = Order.objects.create(article=article)
    order.execution_id = open_engine().submit(
        PLAN,
        {"order": order.pk},
        idempotency_key=f"order-{order.pk}",
        transaction=connection,
    )
    order.save(update_fields=["execution_id"])
    return order
