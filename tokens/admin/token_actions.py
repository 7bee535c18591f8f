"""Actions on tokens: on one by a button of its page, on ticked ones, on all that match.

Few are done while the person waits. Many are an order, which the worker carries out in slices; its
page shows its progress and its result.
"""

from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from providers.admin.big_tables import record_in_history
from providers.models import TaskProgress
from tokens.admin.token_columns import name_outcome
from tokens.admin.token_filters import describe_query, read_query
from tokens.bulk import orders
from tokens.bulk.order import CHECK, DISABLE, ENABLE, MOVE, RESET, Order
from tokens.bulk.slices import DONE
from tokens.maintenance.check_now import WorkerUnreachable, queue_task
from tokens.models import State, UpstreamToken
from tokens.moving import MOVED, TargetRefused
from tokens.tasks import carry_on_order
from tokens.token_filter import UnknownFilter

NOTES = {
    RESET: "Reset.",
    ENABLE: "Enabled.",
    DISABLE: "Disabled.",
    MOVE: "Moved to another provider.",
    CHECK: "",  # a check changes nothing by itself; what it changes is in the token's history
}
PAGED_ACTIONS = (CHECK, MOVE)  # their result is more than a number
LONG_WAIT_SECONDS = 600.0  # a small order is finished at once, whatever its upstreams do


def name_action(action: str) -> str:
    """Return the title of an action on tokens, in the reader's language."""
    titles = {
        CHECK: _("Check of tokens"),
        RESET: _("Reset of tokens"),
        ENABLE: _("Enabling of tokens"),
        DISABLE: _("Disabling of tokens"),
        MOVE: _("Move of tokens"),
    }
    return titles[action]


def make_result_address(task_id: UUID) -> str:
    return reverse("admin:tokens_upstreamtoken_result", args=[task_id])


def build_order(
    request: HttpRequest, action: str, tokens: QuerySet[UpstreamToken], **more: Any
) -> Order:
    """Return the order for the ticked tokens, or for all that match. Raises UnknownFilter."""
    username = request.user.get_username()
    if request.POST.get("select_across") == "1":
        return Order(action, username, query=read_query(request), **more)
    ids = tuple(str(token_id) for token_id in tokens.order_by().values_list("pk", flat=True))
    return Order(action, username, ids=ids, **more)


def start_order(request: HttpRequest, order: Order) -> TaskProgress:
    """Note the order in the history and carry it out: a small one now, others by the worker.

    Raises UnknownFilter, WorkerUnreachable.
    """
    note_order(request, order)
    title = name_action(order.action)
    if order.query:
        title = f"{title}: {describe_query(order.query)}"
    is_small = orders.is_small(order)
    row = orders.create_order(order, title, make_result_address)
    if is_small:
        orders.continue_order(row.pk, LONG_WAIT_SECONDS)
        row.refresh_from_db()
        if order.action not in PAGED_ACTIONS or row.total <= 1:  # a message says it all
            TaskProgress.objects.filter(pk=row.pk).delete()
        return row
    try:
        queue_task(carry_on_order, str(row.pk))
    except WorkerUnreachable:
        row.delete()
        raise
    return row


def note_order(request: HttpRequest, order: Order) -> None:
    """Write the order into the history of its tokens, or one note if they are many."""
    note = NOTES[order.action]
    if not note:
        return
    tokens = order.select_tokens()
    if order.action == ENABLE:
        tokens = tokens.filter(state=State.DISABLED)
    if order.action == MOVE:
        note = f"Moved to {order.find_target()}."
    if order.query:
        note = f"{note} ({describe_query(order.query)})"
    record_in_history(request, tokens, note)


def carry_out(request: HttpRequest, order: Order) -> HttpResponse | None:
    """Carry an order out; return its page if that says more than a message, else None."""
    try:
        row = start_order(request, order)
    except WorkerUnreachable as error:
        messages.error(request, str(error))
        return None
    except UnknownFilter as error:
        text = _("Actions on all that match do not work with this filter: %(filter)s.")
        messages.error(request, text % {"filter": error})
        return None
    if row.finished_at is None:
        text = _("%(count)s tokens are too many to wait for: the worker works at them now.")
        messages.info(request, text % {"count": f"{row.total:,}"})
        return HttpResponseRedirect(row.url)
    report_result(request, order, row)
    if order.action in PAGED_ACTIONS and row.total > 1:
        return HttpResponseRedirect(row.url)
    return None


def report_result(request: HttpRequest, order: Order, row: TaskProgress) -> None:
    """Show the result of a small order in a message."""
    if row.failed:
        messages.error(request, row.text)
    elif order.action == CHECK:
        report_check(request, row)
    elif order.action == MOVE:
        report_counts(request, row)
    else:
        count = row.result["outcomes"].get(DONE, 0)
        messages.success(request, describe_change(order.action, count))


def report_check(request: HttpRequest, row: TaskProgress) -> None:
    if not row.total:
        messages.warning(request, _("There is no token to check."))
        return
    remarks = row.result["remarks"]
    if row.total == 1 and remarks:
        remark = remarks[0]
        change = f" ({remark['change']})" if remark["change"] else ""
        text = f"{name_outcome(remark['outcome'])}: {remark['reason']}".rstrip(": ")
        level = messages.SUCCESS if remark["outcome"] == "works" else messages.WARNING
        messages.add_message(request, level, f"{describe_counts(row)} {text}{change}")
        return
    report_counts(request, row)


def report_counts(request: HttpRequest, row: TaskProgress) -> None:
    """Say how many tokens had which outcome; it is a success only if all are fine."""
    is_fine = row.result["outcomes"].keys() <= {"works", MOVED}
    level = messages.SUCCESS if is_fine else messages.WARNING
    messages.add_message(request, level, describe_counts(row))


def describe_counts(row: TaskProgress) -> str:
    """Return the counts in words, for example `3 checked: 2 works, 1 rejected`."""
    counts = ", ".join(
        f"{count:,} {name_outcome(outcome)}" for outcome, count in row.result["outcomes"].items()
    )
    text = _("%(count)s tokens: %(counts)s.")
    if row.result["order"]["action"] == CHECK:
        text = _("%(count)s checked: %(counts)s.")
    return text % {"count": f"{row.total:,}", "counts": counts}


def describe_change(action: str, count: int) -> str:
    """Return for example `2 tokens disabled`."""
    texts = {
        RESET: ngettext(
            "%(count)s upstream token reset.", "%(count)s upstream tokens reset.", count
        ),
        ENABLE: ngettext(
            "%(count)s upstream token enabled.", "%(count)s upstream tokens enabled.", count
        ),
        DISABLE: ngettext(
            "%(count)s upstream token disabled.", "%(count)s upstream tokens disabled.", count
        ),
    }
    return texts[action] % {"count": f"{count:,}"}


class TokenActions:
    """A mixin for the admin of tokens: the actions of its list."""

    @admin.action(description=gettext_lazy("Check at their upstreams"), permissions=["change"])
    def check_tokens(
        self, request: HttpRequest, queryset: QuerySet[UpstreamToken]
    ) -> HttpResponse | None:
        return self.order_action(request, CHECK, queryset)

    @admin.action(
        description=gettext_lazy("Reset: enable, no strikes, no cooldown"), permissions=["change"]
    )
    def reset_tokens(
        self, request: HttpRequest, queryset: QuerySet[UpstreamToken]
    ) -> HttpResponse | None:
        return self.order_action(request, RESET, queryset)

    @admin.action(description=gettext_lazy("Enable the disabled"), permissions=["change"])
    def enable_tokens(
        self, request: HttpRequest, queryset: QuerySet[UpstreamToken]
    ) -> HttpResponse | None:
        return self.order_action(request, ENABLE, queryset)

    @admin.action(description=gettext_lazy("Disable"), permissions=["change"])
    def disable_tokens(
        self, request: HttpRequest, queryset: QuerySet[UpstreamToken]
    ) -> HttpResponse | None:
        return self.order_action(request, DISABLE, queryset)

    @admin.action(description=gettext_lazy("Move to another provider"), permissions=["change"])
    def move_tokens(
        self, request: HttpRequest, queryset: QuerySet[UpstreamToken]
    ) -> HttpResponse | None:
        from tokens.admin.token_move import show_move_page

        try:
            order = build_order(request, MOVE, queryset)
        except UnknownFilter as error:
            messages.error(request, str(error))
            return None
        return show_move_page(request, order)

    def order_action(
        self, request: HttpRequest, action: str, queryset: QuerySet[UpstreamToken]
    ) -> HttpResponse | None:
        try:
            order = build_order(request, action, queryset)
        except UnknownFilter as error:
            text = _("Actions on all that match do not work with this filter: %(filter)s.")
            messages.error(request, text % {"filter": error})
            return None
        return carry_out(request, order)


__all__ = ["TargetRefused", "TokenActions", "build_order", "carry_out"]
