"""The actions of an order: what `plan.yaml` calls, and what takes it back.

Promises: each hands its idempotency key to the service that it asks, so an attempt that
died after its effect is repeated without a second one.

Must not know how a service recognises a key.
"""

import time

from execution import Context, FatalError, action

from .ledger import Booked, book


@action("stock.reserve")
def reserve(ctx: Context, ledger: str, parcels: int, lossy: bool) -> Booked:
    """Take parcels from the stock."""
    return book(ledger, ctx.idempotency_key, "stock", -parcels, lossy=lossy)


@action("stock.release")
def release(ctx: Context, ledger: str, booked: Booked, lossy: bool) -> Booked:
    """Give back to the stock what was taken."""
    return _reverse(ctx, ledger, booked, lossy)


@action("payment.charge")
def charge(ctx: Context, ledger: str, cents: int, lossy: bool) -> Booked:
    """Take the money."""
    return book(ledger, ctx.idempotency_key, "payment", cents, lossy=lossy)


@action("payment.refund")
def refund(ctx: Context, ledger: str, booked: Booked, lossy: bool) -> Booked:
    """Give back the money."""
    return _reverse(ctx, ledger, booked, lossy)


@action("mail.confirm")
def confirm(ctx: Context, ledger: str, lossy: bool) -> Booked:
    """Tell the customer that the order is on its way."""
    return book(ledger, ctx.idempotency_key, "mail", 1, lossy=lossy)


@action("mail.retract")
def retract(ctx: Context, ledger: str, booked: Booked, lossy: bool) -> Booked:
    """Tell the customer that it is not."""
    return _reverse(ctx, ledger, booked, lossy)


@action("parcel.ship")
def ship(ctx: Context, address: str, parcels: int, packing_seconds: float) -> int:
    """Pack parcel by parcel, unless somebody cancels; return how many left."""
    if not address:
        raise FatalError("there is no address to ship to")
    for number in range(1, parcels + 1):
        ctx.raise_if_cancelled()
        time.sleep(packing_seconds)  # the work of hands
        ctx.progress(100 * number // parcels, f"packed {number}")
    return parcels


def _reverse(ctx: Context, ledger: str, booked: Booked, lossy: bool) -> Booked:
    account, amount = booked["account"], -booked["amount"]
    return book(ledger, ctx.idempotency_key, account, amount, lossy=lossy)
