"""The page that asks to which provider tokens are moved."""

from django import forms
from django.contrib import admin, messages
from django.core import signing
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from providers.models import Provider
from tokens.admin.token_actions import carry_out
from tokens.admin.token_filters import describe_query
from tokens.bulk.order import MOVE, Order
from tokens.moving import TargetRefused, require_target

CHANGE_TOKENS = "tokens.change_upstreamtoken"
SALT = "tokens to move"
LONGEST_SECONDS = 3_600  # that the page may stay open


class MoveForm(forms.Form):
    """The form that asks for the target; `order` is signed, so that it stays as it is."""

    order = forms.CharField(widget=forms.HiddenInput)
    target = forms.ModelChoiceField(
        Provider.objects.order_by("name"),
        label=gettext_lazy("Move to"),
        help_text=gettext_lazy("From then on their secrets are sent to this provider."),
    )


def show_move_page(request: HttpRequest, order: Order, target: str = "") -> HttpResponse:
    """Ask for the target. Without ticked tokens nothing is asked."""
    tokens = order.select_tokens()
    form = MoveForm(initial={"order": signing.dumps(order.to_json(), salt=SALT), "target": target})
    context = {
        **admin.site.each_context(request),
        "title": _("Move tokens to another provider"),
        "opts": tokens.model._meta,
        "form": form,
        "count": tokens.count(),
        "query": describe_query(order.query),
        "names": [token.masked for token in tokens[:10]],
    }
    return TemplateResponse(request, "admin/tokens/upstreamtoken/move.html", context)


@require_POST
def move_tokens(request: HttpRequest) -> HttpResponse:
    """Move the tokens of a signed order to the chosen provider."""
    if not request.user.has_perm(CHANGE_TOKENS):
        raise PermissionDenied
    tokens_page = HttpResponseRedirect(reverse("admin:tokens_upstreamtoken_changelist"))
    form = MoveForm(request.POST)
    try:
        values = signing.loads(request.POST.get("order", ""), salt=SALT, max_age=LONGEST_SECONDS)
    except signing.BadSignature:
        messages.error(request, _("This form is too old: choose the tokens again."))
        return tokens_page
    if not form.is_valid():
        messages.error(request, _("Choose the provider to move the tokens to."))
        return tokens_page
    target: Provider = form.cleaned_data["target"]
    try:
        require_target(target)
    except TargetRefused as error:
        messages.error(request, str(error))
        return tokens_page
    order = Order.from_json(
        values | {"provider_id": target.pk, "username": request.user.get_username()}
    )
    return carry_out(request, order) or tokens_page


def build_move_order(request: HttpRequest, token_id: object) -> Order:
    """Return the order to move one token; its target is still to be chosen."""
    return Order(MOVE, request.user.get_username(), ids=(str(token_id),))
