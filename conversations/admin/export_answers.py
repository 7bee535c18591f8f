"""Exports of conversations as answers of the admin: streamed files, noted in the history."""

from collections.abc import Callable
from enum import StrEnum
from typing import Any

from django.core.exceptions import BadRequest
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse

from conversations.stored import conversation_export
from providers.admin.big_tables import record_in_history

EXPORTED_TEXT = "Exported."


class ExportForm(StrEnum):
    """The forms of an export, by the names of `EXPORT_FORMATS`."""

    JSONL = "jsonl"
    MARKDOWN = "markdown"


def read_form(request: HttpRequest) -> ExportForm:
    """Return the form that a POST wants. Raises BadRequest, also for another method."""
    if request.method != "POST":
        raise BadRequest("Send the form of the page.")
    try:
        return ExportForm(request.POST.get("form", ExportForm.JSONL))
    except ValueError:
        raise BadRequest("There is no such form of exports.") from None


def export_conversations(
    request: HttpRequest, rows: QuerySet[Any], form: ExportForm, get_name: Callable[[Any], str]
) -> HttpResponseBase:
    """Answer with these conversations as a file, and note the export in their history.

    They are read page by page while the file is sent, so there may be very many.
    """
    record_in_history(request, rows, EXPORTED_TEXT, get_name=get_name)
    export_format = conversation_export.EXPORT_FORMATS[form]
    ids = list(rows.order_by("pk").values_list("pk", flat=True)[:2])
    name = ids[0] if len(ids) == 1 else "conversations"
    return StreamingHttpResponse(
        conversation_export.stream_export(rows, export_format),
        content_type=export_format.content_type,
        headers={
            "content-disposition": f'attachment; filename="{name}.{export_format.suffix}"',
            "cache-control": "no-store",
        },
    )
