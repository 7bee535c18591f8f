"""The page “Try a route”: which tokens would this request try, in which order, and which not."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django import forms
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from api.authentication.credentials import load_caller
from api.models import ApiKey
from providers.admin.page_sections import find_permitted
from providers.models import ChatModel, ModelAlias, VirtualModel
from tokens.admin.token_state import describe_state
from tokens.failover.routing_preview import (
    PlannedCall,
    PreviewRequest,
    RoutingPreview,
    list_left_out_tokens,
    preview_routing,
)
from tokens.models import UpstreamToken

VIEW_MODELS = "providers.view_chatmodel"
VIEW_TOKENS = "tokens.view_upstreamtoken"
VIEW_KEYS = "api.view_apikey"
MOST_NAMES = 2_000  # that the field of models suggests


class RouteForm(forms.Form):
    """The form that asks which request to try; the caller may be a user or one of their keys."""

    model = forms.CharField(max_length=200, label=gettext_lazy("Model"))
    caller = forms.CharField(
        max_length=150,
        required=False,
        label=gettext_lazy("User or key"),
        help_text=gettext_lazy("A user name, or the beginning of an API key as lists show it."),
    )
    tools = forms.BooleanField(required=False, label=gettext_lazy("offers tools"))
    image = forms.BooleanField(required=False, label=gettext_lazy("has an image"))


@dataclass(frozen=True, slots=True)
class RouteCaller:
    """The caller of a preview; `problem` is why the key would be refused."""

    user_id: int | None = None
    problem: str = ""


def show_routing_page(request: HttpRequest) -> HttpResponse:
    """Show the form and, once a model is named, the route. Nothing is called or written."""
    if not request.user.has_perm(VIEW_MODELS):
        raise PermissionDenied
    form = RouteForm(request.GET if "model" in request.GET else None)
    context = {
        **admin.site.each_context(request),
        "title": _("Try a route"),
        "form": form,
        "names": list_names(),
    }
    if form.is_bound and form.is_valid():
        context |= build_route(request, form.cleaned_data)
    return TemplateResponse(request, "admin/providers/routing.html", context)


def list_names() -> list[str]:
    """Return the names that callers may write."""
    names = set(ChatModel.objects.values_list("public_id", flat=True)[:MOST_NAMES])
    names.update(ModelAlias.objects.values_list("alias", flat=True)[:MOST_NAMES])
    names.update(VirtualModel.objects.values_list("public_id", flat=True)[:MOST_NAMES])
    return sorted(names)


def redirect_to_route(request: HttpRequest, pk: int) -> HttpResponse:
    """Lead from a model's page to the route of a request for it."""
    model = find_permitted(request, ChatModel, pk, VIEW_MODELS)
    return HttpResponseRedirect(f"{reverse('routing')}?{urlencode({'model': model.public_id})}")


def build_route(request: HttpRequest, values: dict[str, Any]) -> dict[str, object]:
    """Return the template context of a route; tokens and callers only for people with the right."""
    caller = RouteCaller()
    if request.user.has_perm(VIEW_KEYS):
        caller = find_caller(values["caller"], values["model"])
    preview = preview_routing(
        PreviewRequest(
            values["model"],
            caller.user_id,
            has_tools=values["tools"],
            has_image=values["image"],
        )
    )
    tokens: dict[UUID | None, UpstreamToken] = {}
    left_out_tokens: list[tuple[UpstreamToken, str, str]] = []
    if request.user.has_perm(VIEW_TOKENS):
        tokens |= UpstreamToken.objects.in_bulk([call.token_id for call in preview.calls])
        left_out_tokens = describe_left_out_tokens(preview)
    return {
        "preview": preview,
        "caller_problem": caller.problem,
        "calls": [(call, tokens.get(call.token_id), name_note(call)) for call in preview.calls],
        "left_out": [(one, explain_reason(one.reason)) for one in preview.left_out],
        "left_out_tokens": left_out_tokens,
    }


def describe_left_out_tokens(preview: RoutingPreview) -> list[tuple[UpstreamToken, str, str]]:
    """Return the tokens that cannot be used, each with the colour and words of its state."""
    now = timezone.now()
    tokens = list_left_out_tokens(list(dict.fromkeys(preview.providers)))
    return [(token, *describe_state(token, now)) for token in tokens]


def find_caller(text: str, model: str) -> RouteCaller:
    """Return the caller whom the text names, and why the request would be refused."""
    text = text.strip().rstrip("…")
    if not text:
        return RouteCaller()
    user = get_user_model().objects.filter(username=text).first()
    if user is not None:
        problem = "" if user.is_active else _("This user is not active: the keys are refused.")
        return RouteCaller(user.pk, problem)
    key = ApiKey.objects.filter(prefix__startswith=text).order_by("pk").first()
    if key is None:
        return RouteCaller(problem=_("There is no such user or key."))
    caller = load_caller(key.digest)
    if caller is None:
        return RouteCaller(key.user_id, _("This key is revoked or expired: it is refused."))
    public_id = ModelAlias.objects.filter(alias=model).values_list("public_id", flat=True).first()
    if not caller.can_use_model(model, public_id or model):
        return RouteCaller(key.user_id, _("This key may not use this model."))
    return RouteCaller(key.user_id)


def name_note(call: PlannedCall) -> str:
    """Return the note of a call, in the reader's language."""
    notes = {
        "guest": _("as a guest, without a token"),
        "no token": _("without a token"),
        "failing": _("marked as failing: only when nothing else is left"),
        "strikes": _("has strikes: one call at a time until it answers"),
    }
    return notes.get(call.note, call.note)


def explain_reason(reason: str) -> str:
    """Return why a candidate is left out, in the reader's language."""
    if reason.startswith("breaker: "):
        text = _("its circuit breaker is open: %(reason)s")
        return text % {"reason": reason.removeprefix("breaker: ")}
    reasons = {
        "model off": _("the model is switched off there"),
        "provider paused": _("the provider is paused"),
        "set aside": _("the provider is set aside until its address is confirmed"),
        "no adapter": _("there is no adapter of its kind"),
        "tokens": _("it has no usable token"),
        "request": _("it cannot take this request, or its tokens are in use"),
    }
    return reasons[reason]
