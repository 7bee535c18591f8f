"""The pages that rotate and revoke one API key, and the page that changes many."""

from datetime import timedelta
from typing import Any, cast

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from api import one_time_forms
from api.admin.keys.issued_page import render_issued_key
from api.key_rights import key_rotation
from api.key_rights.expiry_field import ExpiryField
from api.key_rights.key_owner import can_hold_key_of
from api.models import ApiKey, KeyQuerySet
from providers.admin.big_tables import record_in_history

OVERLAPS = (
    ("24", gettext_lazy("24 hours: time to change the programs that use it")),
    ("1", gettext_lazy("1 hour")),
    ("168", gettext_lazy("7 days")),
    ("720", gettext_lazy("30 days")),
    ("0", gettext_lazy("not at all: the old secret leaked")),
)
MOST_LISTED_KEYS = 50


class RotationForm(forms.Form):
    """How long the old secret still works."""

    overlap = forms.ChoiceField(
        label=gettext_lazy("The old secret still works for"),
        choices=OVERLAPS,
        widget=forms.RadioSelect,
        initial="24",
    )
    form_number = forms.CharField(
        max_length=64, widget=forms.HiddenInput, initial=one_time_forms.generate_form_number
    )


class EndForm(forms.Form):
    """When many keys end."""

    expires_at = ExpiryField(label=gettext_lazy("They end"))


def find_changeable_key(model_admin: Any, request: HttpRequest, object_id: str) -> ApiKey:
    """Return the key of a page. Raises Http404, and PermissionDenied."""
    row = model_admin.get_object(request, object_id)
    if row is None:
        raise Http404
    if not model_admin.has_change_permission(request, row):
        raise PermissionDenied
    key: ApiKey = row
    return key


def render_page(
    request: HttpRequest, template: str, title: str, **context: object
) -> TemplateResponse:
    return TemplateResponse(
        request,
        template,
        {**admin.site.each_context(request), "title": title, "opts": ApiKey._meta, **context},
    )


def redirect_to_key(row: ApiKey) -> HttpResponseRedirect:
    return HttpResponseRedirect(reverse("admin:api_apikey_change", args=[row.pk]))


# --- one key --------------------------------------------------------------------------------------
def rotate_key_page(model_admin: Any, request: HttpRequest, object_id: str) -> HttpResponse:
    """Ask how long the old secret still works; a POST answers with the new secret, once."""
    row = find_changeable_key(model_admin, request, object_id)
    if not can_hold_key_of(cast(User, request.user), row.user):
        raise PermissionDenied
    if row.revoked_at is not None or row.is_expired:
        messages.error(request, _("This key has ended: issue another one."))
        return redirect_to_key(row)
    form = RotationForm(request.POST if request.method == "POST" else None)
    if not form.is_bound or not form.is_valid():
        template = "admin/api/apikey/rotate.html"
        return render_page(request, template, _("A new secret for the key"), row=row, form=form)
    overlap = timedelta(hours=int(form.cleaned_data["overlap"]))
    try:
        with transaction.atomic():
            one_time_forms.mark_used(request, form.cleaned_data["form_number"])
            record_in_history(request, ApiKey.objects.filter(pk=row.pk), _("New secret."))
            old, secret = key_rotation.rotate_key(row, overlap)
    except one_time_forms.FormAlreadyUsed:
        messages.warning(request, _("This form has made its secret already; nothing was changed."))
        return redirect_to_key(row)
    except key_rotation.KeyNotValid:
        messages.error(request, _("This key has ended: issue another one."))
        return redirect_to_key(row)
    row.refresh_from_db()
    return render_issued_key(request, row, secret, old)


def revoke_key_page(model_admin: Any, request: HttpRequest, object_id: str) -> HttpResponse:
    """Ask whether the key should be revoked; a POST does it."""
    row = find_changeable_key(model_admin, request, object_id)
    if request.method != "POST":
        template = "admin/api/apikey/revoke.html"
        return render_page(request, template, _("Revoke the key?"), row=row)
    rows = ApiKey.objects.filter(pk=row.pk, revoked_at=None)
    record_in_history(request, rows, _("Revoked."))
    if rows.revoke():
        messages.success(request, _("The key %(key)s is revoked.") % {"key": row})
    return redirect_to_key(row)


# --- many keys ------------------------------------------------------------------------------------
def confirm_revocation(
    model_admin: Any, request: HttpRequest, queryset: KeyQuerySet
) -> HttpResponse | None:
    """Ask whether the chosen keys should be revoked, and do it when the page was confirmed."""
    rows = queryset.filter(revoked_at=None)
    if "confirmed" not in request.POST:
        return render_confirmation(request, rows, "revoke", _("Revoke these keys?"))
    record_in_history(request, rows, _("Revoked."))
    count = rows.revoke()
    text = ngettext("%(count)d API key revoked.", "%(count)d API keys revoked.", count)
    messages.success(request, text % {"count": count})
    return None


def confirm_end(
    model_admin: Any, request: HttpRequest, queryset: KeyQuerySet
) -> HttpResponse | None:
    """Ask when the chosen keys should end, and write it when the page was confirmed."""
    rows = queryset.filter(revoked_at=None)
    form = EndForm(request.POST if "confirmed" in request.POST else None)
    if not form.is_bound or not form.is_valid():
        return render_confirmation(request, rows, "set_end", _("When do these keys end?"), form)
    record_in_history(request, rows, _("End changed."))
    count = rows.update(expires_at=form.cleaned_data["expires_at"])
    text = ngettext("%(count)d API key changed.", "%(count)d API keys changed.", count)
    messages.success(request, text % {"count": count})
    return None


def render_confirmation(
    request: HttpRequest,
    rows: KeyQuerySet,
    action: str,
    title: str,
    form: forms.Form | None = None,
) -> HttpResponse:
    """Return the page that names the chosen keys and repeats the choice when it is confirmed."""
    listed = rows.select_related("user")[:MOST_LISTED_KEYS]
    return render_page(
        request,
        "admin/api/apikey/confirm_many.html",
        title,
        rows=listed,
        count=rows.count(),
        more=max(0, rows.count() - MOST_LISTED_KEYS),
        action=action,
        selected=request.POST.getlist("_selected_action"),
        select_across=request.POST.get("select_across", "0"),
        form=form,
        now=timezone.now(),
    )
