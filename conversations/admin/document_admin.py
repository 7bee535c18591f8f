"""The admin of documents: it lists them without their content, and adds files for users."""

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin
from django.core.files.uploadedfile import UploadedFile
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django.views.decorators.csrf import csrf_protect

from conversations.documents import ingest
from conversations.files import file_storage
from conversations.models import Document, DocumentState, FilePurpose
from providers.admin.big_tables import BigTableAdmin, make_time_column, render_badge
from providers.exceptions import GatewayError

COLOURS = {
    DocumentState.INGESTED: "good",
    DocumentState.ERROR: "bad",
    DocumentState.EMPTY: "off",
}


class DocumentForm(forms.ModelForm):  # type: ignore[type-arg]
    """A form that stores a file for a user and ingests it in the background.

    It is one of the user's files, so the user can name it in chat.
    """

    ingested_document: Document
    upload = forms.FileField(
        label=_("File"), help_text=_("Plain text, Markdown, HTML, PDF or Word (.docx).")
    )

    class Meta:
        model = Document
        fields = ("user",)
        help_texts = {"user": _("The user who will own the file.")}

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if not self.errors:
            self._store_upload(cleaned["user"].pk, cleaned["upload"])
        return cleaned

    def _store_upload(self, user_id: int, uploaded: "UploadedFile[bytes]") -> None:
        """Store the file and start its ingestion; on failure delete the file, show the error."""
        upload = file_storage.Upload(
            uploaded.name or "",
            uploaded.content_type or "",
            FilePurpose.USER_DATA,
            uploaded.chunks(file_storage.PIECE_BYTES),
            is_document=True,
        )
        try:
            self.instance.file = file_storage.store_file(user_id, upload)
            self.ingested_document = ingest.start_file_ingestion(self.instance.file)
        except GatewayError as error:
            self.add_error("upload", error.message)
            if self.instance.file is not None:
                self.instance.file.delete()


@admin.register(Document)
class DocumentAdmin(BigTableAdmin):
    form = DocumentForm
    list_display = ("title_or_id", "user", "status", "chars", "created", "used")
    list_select_related = ("user",)
    list_filter = ("state",)
    sortable_by = ()
    autocomplete_fields = ("user",)
    search_fields = ("id",)
    search_help_text = _("A whole id (doc_…, file-…) or a user's name")
    fields = (
        "id",
        "title",
        "user",
        "file",
        "status",
        "reason",
        "chars",
        "passage_count",
        "created",
        "used",
        "expires",
    )
    created = make_time_column("created_at", _("created"))
    used = make_time_column("used_at", _("used"))
    expires = make_time_column("expires_at", _("expires"))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Document]:
        return super().get_queryset(request).defer("index")

    def get_fields(self, request: HttpRequest, obj: Document | None = None) -> Any:
        return ("user", "upload") if obj is None else self.fields

    def has_change_permission(self, request: HttpRequest, obj: Document | None = None) -> bool:
        return False

    @method_decorator(csrf_protect)
    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show the form without Django's transaction around the whole request.

        Reading a document takes seconds, in which others must be able to write.
        """
        show_form: Callable[..., HttpResponse] = self._changeform_view  # type: ignore[attr-defined]
        return show_form(request, object_id, form_url, extra_context)

    def save_model(self, request: HttpRequest, obj: Document, form: Any, change: bool) -> None:
        """Point to the document that the form has already written."""
        obj.pk = form.ingested_document.pk
        obj.title = form.ingested_document.title

    def get_history_name(self, row: Document) -> str:
        return row.pk

    def find_rows(self, queryset: QuerySet[Document], term: str) -> QuerySet[Document]:
        return queryset.filter(Q(pk=term) | Q(file=term) | Q(user__username=term))

    @admin.display(description=_("title"))
    def title_or_id(self, document: Document) -> str:
        return document.title or document.pk

    @admin.display(description=_("state"), ordering="state")
    def status(self, document: Document) -> SafeString:
        return render_badge(COLOURS.get(DocumentState(document.state), "wait"), document.state)

    @admin.display(description=_("passages"))
    def passage_count(self, document: Document) -> int:
        return document.passages.count()
