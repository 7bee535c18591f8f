"""The only page that shows a new key: the answer to the form that made it."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _

from api.admin.keys.snippets import find_usable_model, make_snippets
from api.models import ApiKey


def render_issued_key(
    request: HttpRequest, row: ApiKey, key: str, old: ApiKey | None = None
) -> HttpResponse:
    """Return the page; no message, session or cache keeps the key.

    `old` is the row of the secret that the key replaces.
    """
    base_url = request.build_absolute_uri("/v1")
    model = find_usable_model(row)
    context: dict[str, Any] = {
        **admin.site.each_context(request),
        "title": _("The new secret of the key") if old else _("The new API key"),
        "opts": ApiKey._meta,
        "row": row,
        "old": old,
        "key": key,
        "model": model,
        "base_url": base_url,
        "snippets": make_snippets(base_url, key, model),
    }
    page = TemplateResponse(request, "admin/api/apikey/issued.html", context)
    page.headers["Cache-Control"] = "no-store"
    return page
