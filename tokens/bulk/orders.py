"""Start orders, and carry them out slice by slice; a killed worker's order is carried on.

An order and how far it has come are in the row of its progress (`providers/task_progress.py`).
Tokens are visited in the order of their ids, each once, so an order that changes what its own
filter asks for reaches every token that matched. A task works for ORDER_RUN_SECONDS and then queues
the next one, so that other tasks get their turn. An order whose worker was killed is carried on by
`continue_stalled_orders`; its last slice may then be done twice, which changes nothing.
"""

import time
from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

from django.db.models.functions import Now
from django.utils import timezone

from providers.database.database_errors import log_unless_outage
from providers.models import TaskProgress
from providers.protocol.json_types import JsonObject
from providers.task_progress import create_progress, finish_progress
from tokens import moving
from tokens.bulk.order import CHECK, Order
from tokens.bulk.slices import SliceResult, apply_order
from tokens.token_filter import UnknownFilter

KIND = "tokens"  # of the progress of orders
CHECK_SLICE = 50  # tokens: two rounds of calls
WRITE_SLICE = 500  # tokens of one transaction
LONGEST_PAUSE_SECONDS = 0.25  # after a slice, so that others can use the database
MOST_REMARKS = 200  # that the page of the result lists
STALLED_SECONDS = 300.0
MOST_NOW = {CHECK: 25}  # tokens that a person waits for
MOST_WRITTEN_NOW = 1_000


def count_now(action: str) -> int:
    """Return how many tokens of an action are done while the person waits."""
    return MOST_NOW.get(action, MOST_WRITTEN_NOW)


def create_order(order: Order, title: str, make_address: Callable[[UUID], str]) -> TaskProgress:
    """Write an order that begins; nothing is done yet. Raises UnknownFilter."""
    total = order.select_tokens().count()
    row = create_progress(KIND, title, total=total, started_by=order.username)
    row.result = {"order": order.to_json(), "after": "", "outcomes": {}, "remarks": []}
    row.url = make_address(row.pk)
    row.save(update_fields=["result", "url"])
    return row


def continue_order(task_id: UUID | str, seconds: float) -> bool:
    """Work at an order for about `seconds`, and return whether it is over."""
    row = TaskProgress.objects.filter_unfinished().filter(pk=task_id).first()
    if row is None:
        return True
    until = time.monotonic() + seconds
    try:
        while not row.stop_requested:
            if not do_next_slice(row):
                finish_progress(row.pk, result=row.result)
                return True
            if time.monotonic() >= until:
                return False
            row.refresh_from_db(fields=["stop_requested"])
    except (UnknownFilter, moving.TargetRefused) as error:
        finish_progress(row.pk, str(error), result=row.result, failed=True)
        return True
    except Exception as error:  # logged, and raised again
        log_unless_outage(error)
        raise
    finish_progress(row.pk, result=row.result | {"stopped": True})
    return True


def do_next_slice(row: TaskProgress) -> bool:
    """Do the next slice of an order and write its result; return False when nothing is left."""
    order = Order.from_json(row.result["order"])
    tokens = order.select_tokens().order_by("pk")
    if row.result["after"]:
        tokens = tokens.filter(pk__gt=UUID(row.result["after"]))
    size = CHECK_SLICE if order.action == CHECK else WRITE_SLICE
    token_ids = list(tokens.values_list("pk", flat=True)[:size])
    if not token_ids:
        return False
    started_at = time.monotonic()
    add_result(row.result, apply_order(order, token_ids))
    took_seconds = time.monotonic() - started_at
    row.result["after"] = str(token_ids[-1])
    row.done += len(token_ids)
    TaskProgress.objects.filter(pk=row.pk).update(
        done=row.done, result=row.result, updated_at=Now()
    )
    if order.action != CHECK and len(token_ids) == size:  # others want to write, too
        time.sleep(min(took_seconds, LONGEST_PAUSE_SECONDS))
    return True


def add_result(total: JsonObject, result: SliceResult) -> None:
    """Add the result of a slice to that of its order."""
    for outcome, count in result.outcomes.items():
        total["outcomes"][outcome] = total["outcomes"].get(outcome, 0) + count
    free = MOST_REMARKS - len(total["remarks"])
    total["remarks"] += result.remarks[:free]
    total["left_out_remarks"] = total.get("left_out_remarks", 0) + len(result.remarks[free:])
    for name in ("asked", "milliseconds"):
        total[name] = total.get(name, 0) + getattr(result, name)
    slowest = total.get("slowest_milliseconds", 0)
    total["slowest_milliseconds"] = max(slowest, result.slowest_milliseconds)


def find_stalled_orders() -> list[UUID]:
    """Return the orders that nobody has worked at for STALLED_SECONDS."""
    latest = timezone.now() - timedelta(seconds=STALLED_SECONDS)
    rows = TaskProgress.objects.filter_unfinished().filter(kind=KIND, updated_at__lt=latest)
    return list(rows.values_list("pk", flat=True))


def is_small(order: Order) -> bool:
    """Return whether an order has so few tokens that a person can wait for it."""
    limit = count_now(order.action)
    return len(order.select_tokens().order_by().values("pk")[: limit + 1]) <= limit
