"""The pages below that of a token: its buttons, and the result of an action on many tokens."""

from collections.abc import Callable
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from providers.admin.page_sections import (
    TOKEN_PAGE,
    Button,
    Section,
    SubPage,
    find_permitted,
    is_permitted,
)
from providers.models import TaskProgress
from providers.task_progress import request_stop
from tokens.admin.token_actions import carry_out
from tokens.admin.token_columns import COLOUR_BY_OUTCOME, name_outcome
from tokens.admin.token_history import render_history, render_last_check
from tokens.admin.token_move import CHANGE_TOKENS, build_move_order, show_move_page
from tokens.bulk import orders
from tokens.bulk.order import CHECK, DISABLE, ENABLE, RESET, Order
from tokens.maintenance.check_now import WorkerUnreachable, queue_task
from tokens.models import State, UpstreamToken
from tokens.tasks import carry_on_order

VIEW_TOKENS = "tokens.view_upstreamtoken"


# --- buttons of a token's page --------------------------------------------------------------------
def make_deed(action: str) -> Callable[[HttpRequest, UUID], HttpResponse]:
    """Return the view of a button that does this action with one token."""

    @require_POST
    def do_deed(request: HttpRequest, pk: UUID) -> HttpResponse:
        token = find_permitted(request, UpstreamToken, pk, CHANGE_TOKENS)
        carry_out(request, Order(action, request.user.get_username(), ids=(str(token.pk),)))
        return HttpResponseRedirect(reverse("admin:tokens_upstreamtoken_change", args=[pk]))

    return do_deed


def ask_for_target(request: HttpRequest, pk: UUID) -> HttpResponse:
    token = find_permitted(request, UpstreamToken, pk, CHANGE_TOKENS)
    return show_move_page(request, build_move_order(request, token.pk))


def is_enabled(token: UpstreamToken) -> bool:
    return token.state != State.DISABLED


def make_button(label: object, name: str, order: int, **more: object) -> Button:
    values = {"is_post": True, "permission": CHANGE_TOKENS} | more
    url_name = f"admin:tokens_upstreamtoken_{name}"
    return Button(label, url_name, order=order, **values)  # type: ignore[arg-type]


TOKEN_PAGE.register_parts(
    SubPage("check", make_deed(CHECK)),
    SubPage("reset", make_deed(RESET)),
    SubPage("enable", make_deed(ENABLE)),
    SubPage("disable", make_deed(DISABLE)),
    SubPage("move", ask_for_target),
    make_button(gettext_lazy("Check now"), "check", 10, style="button-primary"),
    make_button(
        gettext_lazy("Reset"),
        "reset",
        20,
        help_text=gettext_lazy("Enable it, and end its strikes and its cooldown."),
    ),
    make_button(gettext_lazy("Enable"), "enable", 30, is_shown=lambda token: not is_enabled(token)),
    make_button(gettext_lazy("Disable"), "disable", 30, is_shown=is_enabled),
    make_button(gettext_lazy("Move to another provider"), "move", 40, is_post=False),
    Section(gettext_lazy("Last check"), render_last_check, order=30),
    Section(gettext_lazy("History"), render_history, order=40, is_wide=True),
)


# --- the result of an action ----------------------------------------------------------------------
def find_order_row(task_id: UUID) -> TaskProgress:
    """Return the progress of an action on tokens. Raises Http404."""
    return get_object_or_404(TaskProgress, pk=task_id, kind=orders.KIND)


def show_result(request: HttpRequest, task_id: UUID) -> HttpResponse:
    """Show the progress and the result of an action on many tokens.

    With `?part=1` only the part that changes is sent.
    """
    if not is_permitted(request, VIEW_TOKENS):
        raise PermissionDenied
    row = find_order_row(task_id)
    context = {**build_result(row), "may_change": is_permitted(request, CHANGE_TOKENS)}
    if request.GET.get("part"):
        return TemplateResponse(request, "admin/tokens/upstreamtoken/result_part.html", context)
    context |= {
        **admin.site.each_context(request),
        "title": row.title,
        "opts": UpstreamToken._meta,
    }
    return TemplateResponse(request, "admin/tokens/upstreamtoken/result.html", context)


def build_result(row: TaskProgress) -> dict[str, object]:
    """Return the template context of an order's result."""
    result = row.result
    asked = result.get("asked", 0)
    outcomes = [
        (name_outcome(outcome), COLOUR_BY_OUTCOME.get(outcome, "off"), count)
        for outcome, count in result.get("outcomes", {}).items()
    ]
    remarks = [
        remark | {"outcome_name": name_outcome(remark["outcome"])}
        for remark in result.get("remarks", [])
    ]
    return {
        "progress": row,
        "outcomes": outcomes,
        "remarks": remarks,
        "left_out_remarks": result.get("left_out_remarks", 0),
        "was_stopped": result.get("stopped", False),
        "average_ms": round(result.get("milliseconds", 0) / asked) if asked else None,
        "slowest_ms": result.get("slowest_milliseconds", 0),
    }


@require_POST
def stop_order(request: HttpRequest, task_id: UUID) -> HttpResponse:
    """Stop an action after its present slice."""
    if not is_permitted(request, CHANGE_TOKENS):
        raise PermissionDenied
    request_stop(find_order_row(task_id).pk)
    messages.info(request, _("It stops after the tokens that it works at now."))
    return HttpResponseRedirect(reverse("admin:tokens_upstreamtoken_result", args=[task_id]))


@require_POST
def resume_order(request: HttpRequest, task_id: UUID) -> HttpResponse:
    """Send an action to the worker again, for example when the worker was killed."""
    if not is_permitted(request, CHANGE_TOKENS):
        raise PermissionDenied
    try:
        queue_task(carry_on_order, str(find_order_row(task_id).pk))
    except WorkerUnreachable as error:
        messages.error(request, str(error))
    return HttpResponseRedirect(reverse("admin:tokens_upstreamtoken_result", args=[task_id]))
