"""The views of the OpenAPI document and of the page that shows it; both are open to everybody."""

from functools import cache

import orjson
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from api.openapi.docs_page import list_subjects
from api.openapi.error_kinds import list_error_kinds


@cache
def render_document() -> bytes:
    """Return the document as JSON."""
    # drf-spectacular is large, and most processes are never asked for the document
    from api.openapi.document import build_document

    return orjson.dumps(build_document(), option=orjson.OPT_INDENT_2)


@require_safe
def answer_schema(request: HttpRequest) -> HttpResponse:
    """Answer the OpenAPI document; programs of other sites may read it."""
    headers = {"cache-control": "no-cache", "access-control-allow-origin": "*"}
    return HttpResponse(render_document(), content_type="application/json", headers=headers)


@require_safe
def show_docs(request: HttpRequest) -> TemplateResponse:
    """Show all endpoints on a page."""
    base_url = request.build_absolute_uri("/").rstrip("/")
    context = {
        "title": _("API documentation"),
        "base_url": base_url,
        "subjects": list_subjects(base_url),
        "error_kinds": list_error_kinds(),
    }
    return TemplateResponse(request, "openapi/docs.html", context)
