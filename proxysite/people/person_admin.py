"""The admin of users."""

from typing import Any, cast

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.forms import CheckboxSelectMultiple
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_POST

from api.admin.limit_admin import UserLimitsInline
from api.admin.team_admin import MembershipInline
from providers.admin.big_tables import NO_VALUE, make_time_column, render_badge
from providers.admin.deletion_admin import SlicedDeletion
from proxysite.people import import_page, person_actions
from proxysite.people.person_page import build_person_sections
from proxysite.people.rights_field import make_rights_field

RIGHTS_FIELDS = ("is_staff", "is_superuser", "groups", "user_permissions")
TEAM_LOOKUP = "team_membership__team__id__exact"
PERSON_FIELDSET = (
    None,
    {"fields": ("username", "password", "first_name", "last_name", "email", "is_active")},
)
ROLES_FIELDSET = (
    gettext_lazy("Roles"),
    {
        "fields": ("is_staff", "groups", "is_superuser"),
        "description": gettext_lazy(
            "A role works only for members of staff. The page Roles explains each of them."
        ),
    },
)
NEW_ROLES_FIELDSET = (
    gettext_lazy("Roles"),
    {
        "fields": ("groups",),
        "description": gettext_lazy(
            "With a role the user is a member of staff, who can log in to these pages; without "
            "any he can log in to the portal. A Viewer may look and change nothing."
        ),
    },
)
RIGHTS_FIELDSET = (
    gettext_lazy("Single rights, beside the roles"),
    {"fields": ("user_permissions",), "classes": ("collapse",)},
)
DATES_FIELDSET = (gettext_lazy("Dates"), {"fields": ("last_login", "date_joined")})


@admin.register(User)
class PersonAdmin(SlicedDeletion, UserAdmin):  # type: ignore[type-arg]
    """Django's admin of users, with deletions in slices.

    Only superusers give rights: a member of staff who may change users could otherwise become a
    superuser. A user's page has the team and the limits of the user, for those who may see them.
    """

    change_form_template = "admin/auth/user/change_form.html"
    change_list_template = "admin/auth/user/change_list.html"
    list_display = ("username", "full_name", "email", "state_badge", "roles", "team", "seen")
    list_filter = ("is_active", "is_staff", "is_superuser", "groups")
    list_select_related = ("team_membership__team",)
    list_per_page = 50
    filter_horizontal = ()
    show_full_result_count = False
    fieldsets = (  # type: ignore[assignment]
        PERSON_FIELDSET,
        ROLES_FIELDSET,
        RIGHTS_FIELDSET,
        DATES_FIELDSET,
    )
    readonly_fields = ("last_login", "date_joined")
    actions = ("block", "unblock", "log_out")
    seen = make_time_column("last_login", gettext_lazy("last login"))

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        return cast("QuerySet[User]", super().get_queryset(request)).prefetch_related("groups")

    def get_inlines(self, request: HttpRequest, obj: User | None) -> Any:
        return () if obj is None else (MembershipInline, UserLimitsInline)

    def get_fieldsets(self, request: HttpRequest, obj: User | None = None) -> Any:
        """Return the parts of the form; who may give rights chooses roles for a new user, too."""
        fieldsets = super().get_fieldsets(request, obj)
        if obj is None and cast(User, request.user).is_superuser:
            return (*fieldsets, NEW_ROLES_FIELDSET)
        return fieldsets

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        """Write the user; with a new role he becomes a member of staff, for whom alone it works."""
        if has_new_role(form) and "is_staff" not in form.changed_data:
            obj.is_staff = True
        super().save_model(request, obj, form, change)

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> list[str]:
        fields = [*super().get_readonly_fields(request, obj)]
        if not cast(User, request.user).is_superuser:
            fields += RIGHTS_FIELDS
        return fields

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Offer the rights that mean something here, in plain words."""
        if db_field.name == "user_permissions":
            return make_rights_field(db_field)
        if db_field.name == "groups":
            return db_field.formfield(
                label=gettext_lazy("Roles"), widget=CheckboxSelectMultiple, help_text=""
            )
        return super().formfield_for_manytomany(db_field, request, **kwargs)

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return self.can_change_user(request, obj) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return self.can_change_user(request, obj) and super().has_delete_permission(request, obj)

    @staticmethod
    def can_change_user(request: HttpRequest, obj: User | None) -> bool:
        """Return whether this person may change the user `obj`.

        Other members of staff are for superusers only: with their password one has their rights.
        """
        person = cast(User, request.user)
        return (
            obj is None
            or person.is_superuser
            or obj.pk == person.pk
            or not (obj.is_staff or obj.is_superuser)
        )

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Forbid a deletion when one of the chosen users must not be changed by this person."""
        names, counts, lacking, protected = super().get_deleted_objects(objs, request)
        if any(not self.can_change_user(request, person) for person in objs):
            lacking = {*lacking, _("other members of staff")}
        return names, counts, lacking, protected

    def lookup_allowed(self, lookup: str, value: str, request: Any = None) -> bool:
        """Return whether an address may filter by this: also by a team, whose page links here."""
        return lookup == TEAM_LOOKUP or super().lookup_allowed(lookup, value, request)

    # --- the page of a user -----------------------------------------------------------------------
    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        context = extra_context or {}
        person = self.get_object(request, object_id)
        if person is not None and self.has_view_or_change_permission(request, person):
            context = {**context, "sections": build_person_sections(request, person)}
            context["may_act"] = self.has_change_permission(request, person)
        return super().change_view(request, object_id, form_url, context)

    def user_change_password(
        self,
        request: HttpRequest,
        id: str,  # noqa: A002 - as Django calls it
        form_url: str = "",
    ) -> HttpResponse:
        """Show the form of a new password; for the own one it is the one that asks for the old.

        Otherwise whoever finds an open browser could set a password, and with it pass the pages
        that ask for it once more.
        """
        person = self.get_object(request, unquote(id))
        if person is not None and person.pk == request.user.pk:
            return HttpResponseRedirect(reverse("admin:password_change"))
        answer: HttpResponse = super().user_change_password(request, id, form_url)
        return answer

    # --- deeds ------------------------------------------------------------------------------------
    def get_urls(self) -> list[Any]:
        views = {
            "block": self.block_person,
            "unblock": self.unblock_person,
            "logout": self.log_out_person,
        }
        pages = [
            path(f"<int:pk>/{name}/", self.admin_site.admin_view(view), name=f"auth_user_{name}")
            for name, view in views.items()
        ]
        imports = self.admin_site.admin_view(import_page.import_users)
        return [path("import/", imports, name="auth_user_import"), *pages, *super().get_urls()]

    def find_person(self, request: HttpRequest, pk: int) -> User:
        """Return the user that a button is about. Raises Http404, and PermissionDenied."""
        person = self.get_object(request, str(pk))
        if person is None:
            raise Http404
        if not self.has_change_permission(request, person):
            raise PermissionDenied
        return cast(User, person)

    @method_decorator(require_POST)
    def block_person(self, request: HttpRequest, pk: int) -> HttpResponse:
        person = self.find_person(request, pk)
        if person_actions.block_users(request, User.objects.filter(pk=pk)):
            text = _("%(user)s is blocked: no key works, and nobody is logged in by that name.")
            messages.success(request, text % {"user": person})
        else:
            messages.error(request, _("You cannot block yourself."))
        return redirect_to_person(pk)

    @method_decorator(require_POST)
    def unblock_person(self, request: HttpRequest, pk: int) -> HttpResponse:
        person = self.find_person(request, pk)
        person_actions.unblock_users(request, User.objects.filter(pk=pk))
        messages.success(request, _("%(user)s is not blocked any more.") % {"user": person})
        return redirect_to_person(pk)

    @method_decorator(require_POST)
    def log_out_person(self, request: HttpRequest, pk: int) -> HttpResponse:
        self.find_person(request, pk)
        count = person_actions.end_sessions(request, User.objects.filter(pk=pk))
        text = ngettext("%(count)d session ended.", "%(count)d sessions ended.", count)
        messages.success(request, text % {"count": count})
        if pk == request.user.pk:
            return HttpResponseRedirect(reverse("admin:login"))
        return redirect_to_person(pk)

    def filter_changeable(self, request: HttpRequest, queryset: QuerySet[User]) -> QuerySet[User]:
        """Return the chosen users without those that this person must not change."""
        if not cast(User, request.user).is_superuser:
            return queryset.filter(is_staff=False, is_superuser=False)
        return queryset

    @admin.action(description=gettext_lazy("Block selected users"), permissions=["change"])
    def block(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        count = person_actions.block_users(request, self.filter_changeable(request, queryset))
        text = ngettext("%(count)d user blocked.", "%(count)d users blocked.", count)
        messages.success(request, text % {"count": count})

    @admin.action(description=gettext_lazy("Unblock selected users"), permissions=["change"])
    def unblock(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        count = person_actions.unblock_users(request, self.filter_changeable(request, queryset))
        text = ngettext("%(count)d user unblocked.", "%(count)d users unblocked.", count)
        messages.success(request, text % {"count": count})

    @admin.action(
        description=gettext_lazy("Log out selected users everywhere"), permissions=["change"]
    )
    def log_out(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        count = person_actions.end_sessions(request, self.filter_changeable(request, queryset))
        text = ngettext("%(count)d session ended.", "%(count)d sessions ended.", count)
        messages.success(request, text % {"count": count})

    # --- columns ----------------------------------------------------------------------------------
    @admin.display(description=gettext_lazy("name"))
    def full_name(self, person: User) -> str:
        return person.get_full_name() or NO_VALUE

    @admin.display(description=gettext_lazy("state"))
    def state_badge(self, person: User) -> SafeString:
        if not person.is_active:
            return render_badge("bad", _("blocked"))
        if person.is_superuser:
            return render_badge("wait", _("superuser"))
        return render_badge("good", _("staff") if person.is_staff else _("user"))

    @admin.display(description=gettext_lazy("roles"))
    def roles(self, person: User) -> SafeString | str:
        names = format_html_join(", ", "{}", ((group.name,) for group in person.groups.all()))
        return names or NO_VALUE

    @admin.display(description=gettext_lazy("team"))
    def team(self, person: User) -> str:
        membership = getattr(person, "team_membership", None)
        return str(membership.team) if membership is not None else NO_VALUE


def has_new_role(form: Any) -> bool:
    """Return whether the form gives the user a role that he has not yet."""
    chosen = set(form.cleaned_data.get("groups") or ())
    return bool(chosen - set(form.initial.get("groups") or ()))


def redirect_to_person(pk: int) -> HttpResponseRedirect:
    return HttpResponseRedirect(reverse("admin:auth_user_change", args=[pk]))
