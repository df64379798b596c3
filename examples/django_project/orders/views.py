"""The pages of the shop."""

from django.core.exceptions import BadRequest
from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_POST

from . import delivery
from .models import Order


@require_POST
@transaction.atomic
def place_order(request: HttpRequest) -> JsonResponse:
    """Place an order; what is refused at last has left no trace of either."""
    order = delivery.place(request.POST["article"])
    if request.POST.get("address", "").strip() == "":
        raise BadRequest("where to?")
    return JsonResponse({"order": order.pk, "execution": str(order.execution_id)})


def show_order(request: HttpRequest, order_id: int) -> JsonResponse:
    """Say how far an order has come."""
    order = get_object_or_404(Order, pk=order_id)
    execution = delivery.open_engine().get_status(str(order.execution_id))
    return JsonResponse({"status": order.status, "execution": execution.status})
