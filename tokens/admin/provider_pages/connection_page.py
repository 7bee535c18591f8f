"""The page that tests the connection to a provider, and applies the dialect that it proposes.

The result of the last test is in the session of the person who made it, so a reload tests nothing.
"""

import json
from datetime import datetime
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from providers import registry
from providers.admin.big_tables import record_in_history
from providers.admin.page_sections import find_permitted
from providers.models import Provider
from providers.protocol.json_types import JsonObject
from tokens.dialect_probe.connection_test import run_connection_test
from tokens.dialect_probe.examination import describe_costs

CHANGE_PROVIDER = "providers.change_provider"
SESSION_KEY = "connection_tests"
MOST_REMEMBERED = 5  # results of tests that a session keeps
MODEL_LENGTH = 200


def name_step(name: str) -> str:
    """Return the name of a step of the test, in the reader's language."""
    names = {
        "address": _("Address"),
        "dns": _("Name"),
        "tcp": _("Connection"),
        "tls": _("TLS"),
        "credential": _("Credential"),
        "models": _("Models"),
        "answer": _("Answer"),
        "stream": _("Stream"),
        "tools": _("Tools"),
        "dialect": _("Dialect"),
        "time": _("Time"),
    }
    return names.get(name, name)


def show_connection_page(request: HttpRequest, pk: int) -> HttpResponse:
    """Show the last test; a POST tests."""
    provider = find_permitted(request, Provider, pk, CHANGE_PROVIDER)
    if request.method == "POST":
        return run_test(request, provider)
    report: JsonObject = request.session.get(SESSION_KEY, {}).get(str(pk), {})
    columns = report.get("columns", {})
    context = {
        **admin.site.each_context(request),
        "title": _("Test of the connection to %(provider)s") % {"provider": provider},
        "opts": Provider._meta,
        "provider": provider,
        "report": report,
        "steps": [step | {"title": name_step(step["name"])} for step in report.get("steps", ())],
        "changes": [
            (name, json.dumps(getattr(provider, name)), json.dumps(value))
            for name, value in columns.items()
            if getattr(provider, name) != value
        ],
        "costs": describe_costs(_("the model")),
        "models": list(provider.models.values_list("upstream_name", flat=True)[:200]),
        "tested_at": datetime.fromisoformat(report["at"]) if report else None,
    }
    return TemplateResponse(request, "admin/providers/provider/connection.html", context)


def run_test(request: HttpRequest, provider: Provider) -> HttpResponse:
    """Test the connection, and lead to the page with the result."""
    page = HttpResponseRedirect(
        reverse("admin:providers_provider_test", args=[provider.pk]), status=303
    )
    if provider.kind not in registry.list_adapter_kinds():
        text = _("%(provider)s cannot be asked: there is no adapter of its kind.")
        messages.error(request, text % {"provider": provider})
        return page
    model = request.POST.get("model", "").strip()[:MODEL_LENGTH]
    report = run_connection_test(provider, model, examines_dialect="dialect" in request.POST)
    remembered: dict[str, Any] = request.session.get(SESSION_KEY, {})
    remembered.pop(str(provider.pk), None)
    remembered[str(provider.pk)] = report.to_json() | {"at": timezone.now().isoformat()}
    request.session[SESSION_KEY] = dict(list(remembered.items())[-MOST_REMEMBERED:])
    return page


@require_POST
def apply_proposal(request: HttpRequest, pk: int) -> HttpResponse:
    """Write the changes of the provider's row that the last test of this session proposes."""
    provider = find_permitted(request, Provider, pk, CHANGE_PROVIDER)
    remembered: dict[str, Any] = request.session.get(SESSION_KEY, {})
    columns: JsonObject = remembered.get(str(pk), {}).get("columns", {})
    page = HttpResponseRedirect(reverse("admin:providers_provider_test", args=[pk]))
    if not columns:
        messages.warning(request, _("There is nothing to apply: test the connection again."))
        return page
    for name, value in columns.items():
        setattr(provider, name, value)
    try:
        provider.full_clean()
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
        return page
    record_in_history(
        request, Provider.objects.filter(pk=pk), f"Dialect changed: {json.dumps(columns)}"
    )
    provider.save(update_fields=list(columns))
    messages.success(request, _("The changes are written and in force within a second."))
    return page
