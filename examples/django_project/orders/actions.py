"""What the steps of `deliver.yaml` do, with Django's models as anywhere else."""

from execution import action

from .models import Order


@action("orders.pack")
def pack(order: int) -> str:
    """Pack the order, and return the number of the parcel."""
    Order.objects.filter(pk=order).update(status="packed")
    return f"parcel-{order}"


@action("orders.send")
def send(order: int, parcel: str) -> dict[str, str]:
    """Send the parcel on its way."""
    Order.objects.filter(pk=order).update(status="sent")
    return {"parcel": parcel, "status": "sent"}
