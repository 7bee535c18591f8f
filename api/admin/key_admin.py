"""The admin of API keys: a key is made when its form is saved, and shown once."""

from functools import partial
from typing import Any, cast

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from api import keys, one_time_forms
from api.admin.keys import key_changes
from api.admin.keys.issued_page import render_issued_key
from api.admin.keys.key_columns import KeyColumns
from api.admin.keys.key_list import KeyList, KeyStateFilter, KeyUseFilter
from api.admin.limit_admin import KeyLimitsInline
from api.admin.requests.usage_section import may_view_usage
from api.forms import ApiKeyForm
from api.key_rights import limit_rows
from api.key_rights.key_owner import (
    can_hold_key_of,
    create_user_without_password,
    filter_key_owners,
)
from api.models import ApiKey, KeyQuerySet, LimitSet
from providers.admin.big_tables import BigTableAdmin, make_time_column
from providers.admin.deletion_admin import SlicedDeletion
from providers.admin.secret_search import SecretSearch


@admin.register(ApiKey)
class ApiKeyAdmin(KeyColumns, SecretSearch, SlicedDeletion, BigTableAdmin):
    form = ApiKeyForm
    change_list_template = "admin/api/apikey/change_list.html"
    change_form_template = "admin/api/apikey/change_form.html"
    list_display = (
        "key_prefix",
        "name",
        "user",
        "state_badge",
        "model_names",
        "ends",
        "last_used",
        "spent",
        "limits_text",
        "created",
    )
    list_select_related = ("user",)
    list_filter = (KeyStateFilter, KeyUseFilter)
    sortable_by = ("created",)
    search_fields = ("prefix",)
    search_help_text = gettext_lazy(
        "A whole key or its beginning, or a whole user name. What you type stays out of addresses."
    )
    actions = ("revoke", "set_end")
    autocomplete_fields = ("user",)
    readonly_fields = (
        "key_prefix",
        "state_badge",
        "last_used",
        "created",
        "revoked",
        "budgets",
        "usage_section",
    )
    inlines = (KeyLimitsInline,)
    last_used = make_time_column("last_used_at", gettext_lazy("last used"))
    created = make_time_column("created_at", gettext_lazy("created"))
    revoked = make_time_column("revoked_at", gettext_lazy("revoked"))
    ends = make_time_column("expires_at", gettext_lazy("ends"))
    new_key_fieldset = (
        None,
        {
            "fields": ("user", "new_user", "name", "form_number"),
            "description": gettext_lazy("The key is made when you save, and shown once."),
        },
    )
    key_fieldset = (None, {"fields": ("key_prefix", "state_badge", "user", "name")})
    dates_fieldset = (gettext_lazy("Dates"), {"fields": ("last_used", "created", "revoked")})
    rights_fieldset = (
        gettext_lazy("Rights"),
        {
            "fields": (
                "expires_at",
                "model_choice",
                "allowed_models",
                "model_patterns",
                "default_model",
                "stores_content",
                "remembers_sessions",
            )
        },
    )

    class Media:
        css = {"all": ["desk/people.css"]}

    def get_fieldsets(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        if obj is None:
            return (self.get_new_key_fieldset(request), self.rights_fieldset)
        usage_fields = ("budgets", "usage_section") if may_view_usage(request) else ("budgets",)
        usage_fieldset = (gettext_lazy("Usage"), {"fields": usage_fields})
        return (self.key_fieldset, usage_fieldset, self.rights_fieldset, self.dates_fieldset)

    def get_new_key_fieldset(self, request: HttpRequest) -> Any:
        """Return the first fields of a new key; a new user is for those who may add one."""
        if may_add_user(request):
            return self.new_key_fieldset
        title, options = self.new_key_fieldset
        return (title, {**options, "fields": ("user", "name", "form_number")})

    def get_readonly_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        if obj is None:
            return self.readonly_fields
        return ("user", *self.readonly_fields)

    def has_delete_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        """Return whether the key may be deleted, as long as its form or row identifies it.

        With PASSTHROUGH_PROVIDER, a key without our prefix is known by its row only. Once deleted,
        it would be taken for an upstream token of the caller.
        """
        if obj is not None and settings.PASSTHROUGH_PROVIDER:
            has_our_format = obj.prefix.startswith(keys.KEY_PREFIX)
            return has_our_format and super().has_delete_permission(request, obj)
        return super().has_delete_permission(request, obj)

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Offer only superusers other members of staff as the user of a key."""
        if db_field.name == "user":
            kwargs["queryset"] = filter_key_owners(cast(User, request.user))
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Return the actions without bulk deletion.

        Keys are revoked instead, so that their usage records still refer to them. A single key can
        be deleted on its page.
        """
        return {
            name: action
            for name, action in super().get_actions(request).items()
            if name != "delete_selected"
        }

    def add_view(
        self,
        request: HttpRequest,
        form_url: str = "",
        extra_context: dict[str, object] | None = None,
    ) -> HttpResponse:
        """Return the form, or the page that shows the new key.

        Of two clicks at the same moment one issues a key that the browser does not show.
        """
        only_save = {
            "show_save_and_add_another": False,
            "show_save_and_continue": False,
            "title": _("Issue an API key"),
        }
        try:
            return super().add_view(request, form_url, {**(extra_context or {}), **only_save})
        except one_time_forms.FormAlreadyUsed:
            text = _(
                "This form was sent twice. If you have not seen its key, revoke the newest one "
                "and issue another."
            )
            self.message_user(request, text, messages.WARNING)
            return HttpResponseRedirect(reverse("admin:api_apikey_changelist"))

    def get_form(
        self, request: HttpRequest, obj: ApiKey | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        """Return the form's class, which can tell if a form was sent before."""
        form_class: Any = super().get_form(request, obj, change, **kwargs)
        form_class.is_used = staticmethod(partial(one_time_forms.is_used, request))
        if not may_add_user(request):
            form_class.base_fields.pop("new_user", None)
        return form_class

    def save_model(self, request: HttpRequest, obj: Any, form: ApiKeyForm, change: bool) -> None:
        """Save the row; a new row also gets its key.

        Of an existing row only changed fields are written, so that no revocation is undone.
        """
        if not change:
            one_time_forms.mark_used(request, form.cleaned_data.get("form_number", ""))
            if new_name := form.cleaned_data.get("new_user"):
                obj.user = create_user_without_password(new_name)
            obj.issued = keys.generate_key()
            obj.prefix = obj.issued[: keys.SHOWN_LENGTH]
            obj.digest = keys.digest_key(obj.issued)
        obj.save(update_fields=form.list_changed_columns() if change else None)

    def get_formset_kwargs(
        self, request: HttpRequest, obj: Any, inline: Any, prefix: str
    ) -> dict[str, Any]:
        """Return the arguments of an inline's forms: a new key begins with the default limits."""
        arguments: dict[str, Any] = super().get_formset_kwargs(request, obj, inline, prefix)
        if obj.pk is None and isinstance(inline, KeyLimitsInline):
            arguments["initial"] = [limit_rows.read_default_limits()]
        return arguments

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Save the limits; a new key whose limits nobody touched gets the default ones."""
        super().save_related(request, form, formsets, change)
        forms_of_limits = [formset for formset in formsets if formset.model is LimitSet]
        was_taken_out = any(formset.total_form_count() == 0 for formset in forms_of_limits)
        has_limits = any(formset.new_objects for formset in forms_of_limits)
        if not change and not has_limits and not was_taken_out:
            limit_rows.create_key_limits(form.instance)

    def response_add(
        self, request: HttpRequest, obj: Any, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Return the only page that shows the key.

        It is the answer to the form itself; no message, session or cache keeps it.
        """
        return render_issued_key(request, obj, obj.issued)

    def find_rows(self, queryset: QuerySet[ApiKey], term: str) -> QuerySet[ApiKey]:
        return queryset.filter(
            Q(prefix__startswith=self.get_public_term(term.rstrip("…"))) | Q(user__username=term)
        )

    def get_public_term(self, term: str) -> str:
        if term.startswith(keys.KEY_PREFIX):
            return term[: keys.SHOWN_LENGTH]
        return term

    def find_by_secret(self, queryset: QuerySet[ApiKey], secret: str) -> QuerySet[ApiKey]:
        return queryset.filter(digest=keys.digest_key(secret))

    def get_public_name(self, row: ApiKey) -> str:
        return row.prefix

    @admin.action(description=gettext_lazy("Revoke selected API keys"), permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: KeyQuerySet) -> HttpResponse | None:
        return key_changes.confirm_revocation(self, request, queryset)

    @admin.action(
        description=gettext_lazy("Change when selected API keys end"), permissions=["change"]
    )
    def set_end(self, request: HttpRequest, queryset: KeyQuerySet) -> HttpResponse | None:
        return key_changes.confirm_end(self, request, queryset)

    # --- further pages ----------------------------------------------------------------------------
    def get_urls(self) -> list[Any]:
        views = {"rotate": key_changes.rotate_key_page, "revoke": key_changes.revoke_key_page}
        pages = [
            path(
                f"<path:object_id>/{name}/",
                self.admin_site.admin_view(partial(view, self)),
                name=f"api_apikey_{name}",
            )
            for name, view in views.items()
        ]
        return [*pages, *super().get_urls()]

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        row = context.get("original")
        may_rotate = row is not None and can_hold_key_of(cast(User, request.user), row.user)
        context["may_rotate"] = may_rotate
        answer: HttpResponse = super().render_change_form(request, context, *args, **kwargs)
        return answer

    def get_changelist(self, request: HttpRequest, **kwargs: object) -> Any:
        return KeyList


def may_add_user(request: HttpRequest) -> bool:
    """Return whether the person may make a new user along with a key."""
    return bool(request.user.has_perm("auth.add_user"))
