"""The user's own files: list, download and delete."""

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponseRedirect, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.http import content_disposition_header
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from api.portal.own_content.content_deletion import delete_own_files
from api.portal.own_content.paging import read_own_page
from api.portal.own_content.typed_confirmation import ConfirmationForm
from api.portal.portal_access import get_user, own_page, render_page
from api.views.stored_files.files import read_file_pieces
from conversations.files import file_storage
from conversations.models import StoredFile
from providers.exceptions import UnknownUrl

FILES_SHOWN = 100


def find_own_file(request: HttpRequest, file_id: str) -> StoredFile:
    """Return a file of the user; another user's file is as unknown as one that is not there."""
    try:
        return file_storage.find_stored_file(get_user(request).pk, file_id)
    except UnknownUrl:
        raise Http404 from None


@own_page("GET")
def list_files(request: HttpRequest) -> HttpResponseBase:
    own = StoredFile.objects.of_user(get_user(request).pk)
    page = read_own_page(own, request.GET.get("before", ""), "created_at", FILES_SHOWN)
    return render_page(
        request,
        "files",
        files=page.rows,
        next_before=page.next_before,
        is_later_page=page.is_later_page,
        total_bytes=own.sum_bytes(),
    )


@own_page("GET")
def download_file(request: HttpRequest, file_id: str) -> HttpResponseBase:
    """Send the bytes, never with the file's own type: no browser shows it as a page of ours."""
    row = find_own_file(request, file_id)
    path = file_storage.path_of(row.pk)
    if not path.is_file():
        raise Http404
    headers = {
        "content-length": str(row.size_bytes),
        "content-disposition": content_disposition_header(True, row.filename) or "attachment",
    }
    return StreamingHttpResponse(
        read_file_pieces(path), content_type="application/octet-stream", headers=headers
    )


@own_page("GET", "POST")
def delete_file(request: HttpRequest, file_id: str) -> HttpResponseBase:
    """Ask whether to delete the file, or delete it."""
    row = find_own_file(request, file_id)
    if request.method == "POST":
        delete_own_files(get_user(request), StoredFile.objects.filter(pk=row.pk))
        messages.success(request, _("The file was deleted."))
        return HttpResponseRedirect(reverse("portal-files"))
    return render_page(request, "file_delete", file=row, section="portal-files")


@own_page("GET", "POST")
def delete_files(request: HttpRequest) -> HttpResponseBase:
    """Delete all files of the user, when the user has typed the own name."""
    user = get_user(request)
    form = ConfirmationForm(user, request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        count = delete_own_files(user, StoredFile.objects.of_user(user.pk))
        text = ngettext("%(count)d file was deleted.", "%(count)d files were deleted.", count)
        messages.success(request, text % {"count": count})
        return HttpResponseRedirect(reverse("portal-files"))
    return render_page(
        request,
        "delete_all",
        form=form,
        count=StoredFile.objects.of_user(user.pk).count(),
        kind="files",
        back=reverse("portal-files"),
        section="portal-files",
    )
