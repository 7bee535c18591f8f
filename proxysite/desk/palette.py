"""The quick search of the desk (Ctrl+K): pages, and rows by name, prefix, id or whole secret.

The text is posted: a person may paste a secret, and addresses stay in histories and logs. The
answer has rows of lists that the person may see, found by the search of their own admin.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from django.apps import apps
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, JsonResponse
from django.urls import reverse
from django.utils.text import capfirst
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST

from proxysite.desk.navigation import build_navigation

SEARCHED_MODELS = (
    "providers.provider",
    "providers.chatmodel",
    "providers.virtualmodel",
    "providers.mcpserver",
    "auth.user",
    "api.team",
    "api.apikey",
    "tokens.upstreamtoken",
    "tokens.upstreamaccount",
    "api.usagerecord",
)
MOST_PER_MODEL = 5
SHORTEST_TERM = 2  # characters from which rows are searched, too
LONGEST_TERM = 32_768  # characters: a secret may be as long


@dataclass(frozen=True, slots=True)
class Finding:
    label: str
    kind: str
    address: str


@admin.site.admin_view
@require_POST
@sensitive_post_parameters("q")
def search_desk(request: HttpRequest) -> JsonResponse:
    """Answer `{"findings": [{label, kind, address}]}` for the posted text `q`."""
    term = request.POST.get("q", "").replace("\x00", "").strip()[:LONGEST_TERM]
    findings = [*find_pages(request, term)]
    if len(term) >= SHORTEST_TERM:
        findings += find_rows(request, term)
    return JsonResponse({"findings": [asdict(finding) for finding in findings]})


def find_pages(request: HttpRequest, term: str) -> Iterator[Finding]:
    """Return the pages of the navigation whose name contains the text."""
    for section in build_navigation(admin.site, request):
        for entry in section.entries:
            if term.casefold() in str(entry.label).casefold():
                yield Finding(str(entry.label), str(section.label), entry.address)


def find_rows(request: HttpRequest, term: str) -> Iterator[Finding]:
    """Return rows that the search of their admin finds, for models that the person may see."""
    for label in SEARCHED_MODELS:
        model_admin = admin.site._registry[apps.get_model(label)]
        if model_admin.has_view_or_change_permission(request):
            yield from find_model_rows(request, model_admin, term)


def find_model_rows(request: HttpRequest, model_admin: Any, term: str) -> Iterator[Finding]:
    rows: QuerySet[Any] = model_admin.get_queryset(request)
    if hasattr(model_admin, "find_by_secret"):
        exact = list(model_admin.find_by_secret(rows, term)[:MOST_PER_MODEL])
        if exact:
            yield from (describe_row(model_admin, row) for row in exact)
            return
    found, _ = model_admin.get_search_results(request, rows, term)
    yield from (describe_row(model_admin, row) for row in found[:MOST_PER_MODEL])


def describe_row(model_admin: Any, row: Any) -> Finding:
    options = model_admin.opts
    address = reverse(f"admin:{options.app_label}_{options.model_name}_change", args=[row.pk])
    return Finding(str(row), capfirst(str(options.verbose_name)), address)
