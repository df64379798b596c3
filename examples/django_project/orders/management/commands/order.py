"""`manage.py order ARTICLE` places an order, `--status` tells of one."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from orders import delivery
from orders.models import Order


class Command(BaseCommand):
    """Places an order and prints its number, or says how far one has come."""

    help = "Place an order, or say how far one has come."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take an article, or the number of an order."""
        parser.add_argument("article", nargs="?")
        parser.add_argument("--status", type=int, metavar="ORDER")

    def handle(
        self, *_: Any, article: str | None, status: int | None, **__: Any
    ) -> None:
        """Do the one or the other."""
        if status is not None:
            order = Order.objects.get(pk=status)
            execution = delivery.open_engine().get_status(str(order.execution_id))
            self.stdout.write(f"{order.status}, {execution.status}")
        elif article:
            self.stdout.write(str(delivery.place(article).pk))
        else:
            raise CommandError("name an article, or --status and an order")
