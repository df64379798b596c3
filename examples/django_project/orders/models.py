"""What the shop keeps of its orders."""

from django.db import models


class Order(models.Model):
    """An order, and the execution that delivers it."""

    article = models.CharField(max_length=100)
    status = models.CharField(max_length=20, default="placed")
    execution_id = models.UUIDField(null=True)
