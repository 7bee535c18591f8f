"""The admin of invitations: a link is made when its form is saved, and shown once."""

from datetime import timedelta
from functools import partial
from typing import Any, cast

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from api import keys, one_time_forms
from api.forms import LinesField
from api.invitations.invitation_links import give_secret, make_link_path
from api.limits.limit_texts import parse_limits
from api.models import Invitation, InvitationQuerySet, InvitationUse
from providers.admin.big_tables import (
    NO_VALUE,
    make_time_column,
    record_in_history,
    render_badge,
)

DEFAULT_DAYS = 14
MOST_NAMED_USERS = 50


def find_default_expiry() -> Any:
    days = min(DEFAULT_DAYS, settings.INVITATION_MOST_DAYS)
    return (timezone.now() + timedelta(days=days)).replace(second=0, microsecond=0)


class InvitationForm(forms.ModelForm):  # type: ignore[type-arg]
    # set by the admin: says if the form of this number has made its link
    is_used: Any
    form_number = forms.CharField(
        required=False,
        max_length=64,
        widget=forms.HiddenInput,
        initial=one_time_forms.generate_form_number,
    )
    allowed_models = LinesField(
        label=gettext_lazy("Allowed models"),
        required=False,
        help_text=gettext_lazy("One in a line, with * for any characters; empty: every model."),
    )

    class Meta:
        labels = {"gives_key": gettext_lazy("Gives a first key")}

    def clean_limits(self) -> str:
        limits: str = self.cleaned_data["limits"]
        parse_limits(limits)
        return limits

    def clean_allowed_models(self) -> list[str]:
        names: list[str] = self.cleaned_data["allowed_models"]
        if unknown := keys.find_unknown_models(names):
            raise ValidationError(_("No such model: %(names)s.") % {"names": ", ".join(unknown)})
        return names

    def clean_expires_at(self) -> Any:
        """Return the end of the invitation, which is in the future and not too far."""
        end = self.cleaned_data["expires_at"]
        days = settings.INVITATION_MOST_DAYS
        if end <= timezone.now():
            raise ValidationError(_("The time has passed."))
        if end > timezone.now() + timedelta(days=days, minutes=1):
            raise ValidationError(
                ngettext(
                    "An invitation is valid for at most %(count)d day.",
                    "An invitation is valid for at most %(count)d days.",
                    days,
                )
                % {"count": days}
            )
        return end

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if self.instance.pk is None and self.is_used(cleaned.get("form_number", "")):
            raise ValidationError(
                _("This form has made its link already, which is shown once: open a new form.")
            )
        return cleaned


@admin.register(Invitation)
class InvitationAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Invitations are made and revoked, never changed: whoever has the link knows its terms."""

    form = InvitationForm
    list_display = ("name", "state_badge", "uses", "team", "role", "expires", "created_by")
    list_select_related = ("team", "role", "created_by")
    list_per_page = 50
    search_fields = ("name",)
    autocomplete_fields = ("team",)
    actions = ("revoke",)
    expires = make_time_column("expires_at", gettext_lazy("expires"))
    created = make_time_column("created_at", gettext_lazy("created"))
    terms = (
        "name",
        "most_uses",
        "expires_at",
        "team",
        "limits",
        "allowed_models",
        "may_issue_keys",
        "gives_key",
    )
    facts = ("state_badge", "uses", "users", "created", "created_by")

    def get_fields(self, request: HttpRequest, obj: Invitation | None = None) -> Any:
        fields = list(self.terms)
        if obj is not None or cast(User, request.user).is_superuser:
            fields.append("role")
        return [*fields, *(self.facts if obj is not None else ("form_number",))]

    def get_readonly_fields(self, request: HttpRequest, obj: Invitation | None = None) -> Any:
        return self.facts

    def has_change_permission(self, request: HttpRequest, obj: Invitation | None = None) -> bool:
        """Return whether invitations may be revoked; one's own page only shows it."""
        return obj is None and super().has_change_permission(request, obj)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {"expires_at": find_default_expiry()}

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        """Return the form's class, which can tell if a form was sent before."""
        form_class: Any = super().get_form(request, obj, change, **kwargs)
        form_class.is_used = staticmethod(partial(one_time_forms.is_used, request))
        return form_class

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Return the form, or the page that shows the new link."""
        only_save = {"show_save_and_add_another": False, "show_save_and_continue": False}
        try:
            return super().add_view(request, form_url, {**(extra_context or {}), **only_save})
        except one_time_forms.FormAlreadyUsed:
            text = _("This form was sent twice. If you have not seen its link, revoke the newest.")
            self.message_user(request, text, messages.WARNING)
            return HttpResponseRedirect(reverse("admin:api_invitation_changelist"))

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        one_time_forms.mark_used(request, form.cleaned_data.get("form_number", ""))
        obj.secret = give_secret(obj)
        obj.created_by = request.user
        obj.save()

    def response_add(
        self, request: HttpRequest, obj: Any, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Return the only page that shows the link."""
        context = {
            **self.admin_site.each_context(request),
            "title": _("The new invitation"),
            "opts": self.opts,
            "row": obj,
            "link": request.build_absolute_uri(make_link_path(obj.secret)),
        }
        page = TemplateResponse(request, "admin/api/invitation/issued.html", context)
        page.headers["Cache-Control"] = "no-store"
        return page

    @admin.display(description=gettext_lazy("state"))
    def state_badge(self, row: Invitation) -> SafeString:
        if row.revoked_at is not None:
            return render_badge("bad", _("revoked"))
        if row.use_count >= row.most_uses:
            return render_badge("off", _("used up"))
        if row.is_expired:
            return render_badge("off", _("expired"))
        return render_badge("good", _("open"))

    @admin.display(description=gettext_lazy("uses"))
    def uses(self, row: Invitation) -> str:
        return f"{row.use_count} / {row.most_uses}"

    @admin.display(description=gettext_lazy("users"))
    def users(self, row: Invitation) -> SafeString | str:
        uses = InvitationUse.objects.filter(invitation=row).select_related("user")
        links = (
            (reverse("admin:auth_user_change", args=[use.user_id]), use.user)
            for use in uses[:MOST_NAMED_USERS]
        )
        return format_html_join(", ", '<a href="{}">{}</a>', links) or NO_VALUE

    @admin.action(description=gettext_lazy("Revoke selected invitations"), permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: InvitationQuerySet) -> None:
        record_in_history(request, queryset, "Revoked.")
        count = queryset.revoke()
        text = ngettext(
            "%(count)d invitation was revoked.", "%(count)d invitations were revoked.", count
        )
        self.message_user(request, text % {"count": count}, messages.SUCCESS)
