"""The page that imports users from CSV: first it shows a preview, then it creates them."""

from typing import cast

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from proxysite.people.user_import import UnreadableFile, check_lines, create_users, read_lines

MOST_SHOWN_LINES = 200
EXAMPLE = "username,email,team\njune,june@example.org,Research\nmai,mai@example.org,"


class UserImportForm(forms.Form):
    """A file or a pasted text."""

    file = forms.FileField(label=gettext_lazy("CSV file"), required=False)
    text = forms.CharField(
        label=gettext_lazy("Or the lines themselves"),
        required=False,
        widget=forms.Textarea(attrs={"rows": 8, "cols": 80, "placeholder": EXAMPLE}),
    )

    def read_text(self) -> str:
        """Return the uploaded or pasted text; a file in an odd encoding is read all the same."""
        file = self.cleaned_data.get("file")
        if file is None:
            return str(self.cleaned_data["text"])
        content: bytes = file.read()
        for encoding in ("utf-8-sig", "utf-16", "gb18030"):
            try:
                return content.decode(encoding)
            except UnicodeDecodeError:
                continue
        return content.decode("latin-1")


def import_users(request: HttpRequest) -> HttpResponse:
    """Show the form; a POST shows a preview, and one with `apply` creates the users."""
    if not request.user.has_perm("auth.add_user"):
        raise PermissionDenied
    if request.method != "POST":
        return render_import(request, UserImportForm())
    form = UserImportForm(request.POST, request.FILES)
    if not form.is_valid():
        return render_import(request, form)
    text = form.read_text()
    try:
        lines = read_lines(text, settings.USER_IMPORT_LINES)
    except UnreadableFile as error:
        form.add_error(None, str(error))
        return render_import(request, form)
    person = cast(User, request.user)
    may_give_teams = person.has_perm("api.add_teammember")
    check_lines(lines, may_give_roles=person.is_superuser, may_give_teams=may_give_teams)
    if "apply" not in request.POST:
        good = sum(1 for line in lines if not line.problems)
        return render_import(
            request,
            UserImportForm(initial={"text": text}),
            lines=lines[:MOST_SHOWN_LINES],
            good=good,
            bad=len(lines) - good,
            more=max(0, len(lines) - MOST_SHOWN_LINES),
            text=text,
        )
    count = create_users(lines)
    message = ngettext("%(count)d user imported.", "%(count)d users imported.", count)
    messages.success(request, message % {"count": count})
    return HttpResponseRedirect(reverse("admin:auth_user_changelist"))


def render_import(request: HttpRequest, form: forms.Form, **context: object) -> TemplateResponse:
    return TemplateResponse(
        request,
        "admin/auth/user/import.html",
        {
            **admin.site.each_context(request),
            "title": _("Import users"),
            "opts": User._meta,
            "form": form,
            **context,
        },
    )
