#!/usr/bin/env python3
"""Places orders over gRPC, and watches one of them to its end.

Every order has an idempotency key, chosen before the first attempt. When the
answer is lost, or the server cannot take the order now, the same call is made
again with the same key: it places the order at most once.
"""

import argparse
import json
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import grpc

sys.path.insert(0, str(Path(__file__).resolve().parent / "generated"))

try:
    from saga.inventory.v1 import inventory_pb2
    from saga.order.v1 import order_pb2
    from saga.shop.v1 import shop_pb2, shop_pb2_grpc
    from saga.types.v1 import types_pb2
except ModuleNotFoundError:
    sys.exit("the generated client is missing: run generate.py first")

Answer = TypeVar("Answer")

CALL_TIMEOUT_SECONDS = 60.0
RETRY_FOR_SECONDS = 60.0
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 2.0

# The outcome is unknown, or the server said "not now": the same key makes it
# safe to call again. Anything else would only be refused again.
RETRIABLE = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}


def with_retries(call: Callable[[], Answer]) -> Answer:
    """Makes a call that is safe to repeat, until it is answered or time is up."""
    give_up_at = time.monotonic() + RETRY_FOR_SECONDS
    pause = FIRST_PAUSE_SECONDS
    while True:
        try:
            return call()
        except grpc.RpcError as error:
            if error.code() not in RETRIABLE or time.monotonic() >= give_up_at:
                raise
        time.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)


def status_name(status: int) -> str:
    """CONFIRMED, REJECTED, ...; also for a status that is newer than this client."""
    try:
        return order_pb2.OrderStatus.Name(status).removeprefix("ORDER_STATUS_")
    except ValueError:
        return f"UNKNOWN_{status}"


def restock(catalogue: shop_pb2_grpc.CatalogueStub, sku: str, quantity: int) -> None:
    """Receives goods, under a key of its own; adds the product if it is new."""
    receipt = inventory_pb2.ReceiveStockRequest(
        sku=sku,
        quantity=quantity,
        idempotency_key=f"python-{uuid.uuid4()}",
        name=f"Python's {sku}",
        price=types_pb2.Money(minor_units=1234, currency="EUR"),
    )
    with_retries(lambda: catalogue.Restock(receipt, timeout=CALL_TIMEOUT_SECONDS))


def place(
    orders: shop_pb2_grpc.OrdersStub, customer: str, sku: str, token: str, wait: bool
) -> shop_pb2.PlaceOrderResponse:
    """Places one order for one piece; with `wait`, returns when it has ended."""
    order = shop_pb2.PlaceOrderRequest(
        idempotency_key=f"python-{uuid.uuid4()}",
        customer=customer,
        lines=[types_pb2.Line(sku=sku, quantity=1)],
        payment_token=token,
        wait=wait,
    )
    return with_retries(lambda: orders.PlaceOrder(order, timeout=CALL_TIMEOUT_SECONDS))


def watch(
    orders: shop_pb2_grpc.OrdersStub, order_id: str, seen: list[shop_pb2.OrderUpdate]
) -> shop_pb2.OrderUpdate:
    """Appends each of an order's updates to `seen`, once; returns the last.

    The server tells the story from the beginning, so a stream that broke can
    be opened again: what was seen before is skipped by its version.
    """
    request = shop_pb2.WatchOrderRequest(order_id=order_id)
    for update in orders.WatchOrder(request, timeout=CALL_TIMEOUT_SECONDS):
        if not seen or update.version > seen[-1].version:
            seen.append(update)
            print(f"  {update.version:>2}  {status_name(update.status):<9}  {update.what}")
        if update.ended:
            break
    if not seen or not seen[-1].ended:
        raise RuntimeError(f"the server stopped telling before order {order_id} had ended")
    return seen[-1]


def arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--server", default="127.0.0.1:7400", help="host:port of the orchestrator")
    parser.add_argument("--orders", type=int, default=10, metavar="N", help="how many to place")
    parser.add_argument("--customer", default="python", help="who orders")
    parser.add_argument("--sku", default="python-teapot", help="what is ordered, one piece each")
    parser.add_argument("--token", default="tok_approved", help="the payment provider's card token")
    parser.add_argument("--no-restock", action="store_true", help="order only what is there")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    args = parser.parse_args()
    if args.orders < 1:
        parser.error("--orders is at least 1")
    args.server = args.server.removeprefix("http://").rstrip("/")
    return args


def main() -> int:
    """Places the orders; exit status 0 if every one of them has ended."""
    args = arguments()
    with grpc.insecure_channel(args.server) as channel:
        orders = shop_pb2_grpc.OrdersStub(channel)
        if not args.no_restock:
            restock(shop_pb2_grpc.CatalogueStub(channel), args.sku, args.orders)

        # The first is only accepted, and then watched; the others wait for their end.
        first = place(orders, args.customer, args.sku, args.token, wait=False)
        print(f"watching order {first.order_id}")
        seen: list[shop_pb2.OrderUpdate] = []
        last = with_retries(lambda: watch(orders, first.order_id, seen))
        ends = {first.order_id: status_name(last.status)}
        for _ in range(args.orders - 1):
            placed = place(orders, args.customer, args.sku, args.token, wait=True)
            ends[placed.order_id] = status_name(placed.status)

    counts = Counter(ends.values())
    print(", ".join(f"{count} {status}" for status, count in sorted(counts.items())))
    if args.json:
        summary = {
            "orders": [{"orderId": order, "status": status} for order, status in ends.items()],
            "counts": counts,
            "watched": {"orderId": first.order_id, "updates": len(seen)},
        }
        print(json.dumps(summary))
    ended = {"CONFIRMED", "REJECTED", "CANCELLED"}
    return 0 if len(ends) == args.orders and ended.issuperset(counts) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except grpc.RpcError as failure:
        sys.exit(f"{failure.code().name}: {failure.details()}")
    except RuntimeError as failure:
        sys.exit(str(failure))
