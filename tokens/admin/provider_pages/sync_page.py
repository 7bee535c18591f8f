"""The page that compares a provider's models with its upstream's list, and applies ticked changes.

The list that the upstream sent is in the session of the person who asked for it.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST

from providers import registry
from providers.admin.big_tables import record_in_history
from providers.admin.page_sections import find_permitted
from providers.exceptions import GatewayError
from providers.integers import parse_integer
from providers.models import Provider
from providers.vault import VaultError
from tokens.maintenance.model_diff import (
    Choice,
    ListedModel,
    apply_choice,
    compare_models,
    read_listed_models,
)

PERMISSION = "providers.change_chatmodel"
SESSION_KEY = "listed_models"
MOST_REMEMBERED = 2  # lists that a session keeps
MOST_LISTED = 5_000  # models of one list
NAME_LENGTH = 200  # characters; the column of a model takes no more
MOST_SHOWN = 800  # new models: a form has a limit of fields
PREFIX_LENGTH = 60
LAST_ID = 2**63 - 1


def show_sync_page(request: HttpRequest, pk: int) -> HttpResponse:
    """Show the differences to the last list; a POST asks the upstream for a new one."""
    provider = find_permitted(request, Provider, pk, PERMISSION)
    if request.method == "POST":
        return ask_for_list(request, provider)
    remembered = find_remembered(request, provider)
    prefix = remembered.get("prefix", "")
    context = {
        **admin.site.each_context(request),
        "title": _("Models of %(provider)s") % {"provider": provider},
        "opts": Provider._meta,
        "provider": provider,
        "prefix": prefix,
    }
    if remembered:
        listed = read_remembered(remembered)
        diff = compare_models(provider, listed, prefix)
        context |= {
            "diff": diff,
            "new": diff.new[:MOST_SHOWN],
            "hidden_count": max(0, len(diff.new) - MOST_SHOWN),
            "has_changes": bool(diff.new or diff.gone or diff.changed or diff.returned),
            "listed_count": len(listed),
            "listed_at": datetime.fromisoformat(remembered["at"]),
        }
    return TemplateResponse(request, "admin/providers/provider/sync.html", context)


def find_remembered(request: HttpRequest, provider: Provider) -> dict[str, Any]:
    """Return the list that this session has of the provider; empty when it has none."""
    remembered: dict[str, Any] = request.session.get(SESSION_KEY, {}).get(str(provider.pk), {})
    return remembered


def read_remembered(remembered: dict[str, Any]) -> list[ListedModel]:
    return [ListedModel(*facts) for facts in remembered["models"]]


def make_page_redirect(provider: Provider) -> HttpResponseRedirect:
    return HttpResponseRedirect(reverse("admin:providers_provider_sync", args=[provider.pk]))


def ask_for_list(request: HttpRequest, provider: Provider) -> HttpResponse:
    """Ask the upstream for its list, and remember it for the page."""
    page = make_page_redirect(provider)
    if provider.kind not in registry.list_adapter_kinds():
        text = _("%(provider)s cannot be asked: there is no adapter of its kind.")
        messages.error(request, text % {"provider": provider})
        return page
    try:
        listed = [row for row in read_listed_models(provider) if len(row.name) <= NAME_LENGTH]
    except (GatewayError, VaultError) as error:
        text = _("%(provider)s does not say which models it has: %(error)s")
        messages.error(request, text % {"provider": provider, "error": error})
        return page
    lists: dict[str, Any] = request.session.get(SESSION_KEY, {})
    lists.pop(str(provider.pk), None)
    lists[str(provider.pk)] = {
        "at": timezone.now().isoformat(),
        "prefix": request.POST.get("prefix", "").strip()[:PREFIX_LENGTH],
        "models": [(model.name, model.window, model.most_output) for model in listed[:MOST_LISTED]],
    }
    request.session[SESSION_KEY] = dict(list(lists.items())[-MOST_REMEMBERED:])
    return page


@require_POST
def apply_sync(request: HttpRequest, pk: int) -> HttpResponse:
    """Write the differences that are ticked."""
    provider = find_permitted(request, Provider, pk, PERMISSION)
    remembered = find_remembered(request, provider)
    if not remembered:
        messages.warning(request, _("The list is not known any more: ask for it again."))
        return make_page_redirect(provider)
    diff = compare_models(provider, read_remembered(remembered), remembered["prefix"])
    choice = Choice(
        set(request.POST.getlist("new")),
        *(read_ids(request.POST.getlist(name)) for name in ("gone", "changed", "returned")),
    )
    written = apply_choice(provider, diff, choice)
    if written:
        record_in_history(
            request, Provider.objects.filter(pk=pk), f"Models synced: {written} written."
        )
    text = ngettext("%(count)d model was written.", "%(count)d models were written.", written)
    messages.success(request, text % {"count": written})
    return make_page_redirect(provider)


def read_ids(texts: Iterable[str]) -> set[int]:
    """Return the ids among texts that a form posted."""
    ids = (parse_integer(text, 1, LAST_ID) for text in texts)
    return {row_id for row_id in ids if row_id is not None}
