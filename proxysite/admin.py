"""The admin of users; the schedules of django-celery-beat that nothing here uses are removed."""

from typing import Any, cast

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import User
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django_celery_beat.models import ClockedSchedule, SolarSchedule

from api.admin.limit_admin import UserLimitsInline
from api.admin.requests.usage_section import USAGE_FIELDSET, may_view_usage, render_usage_section
from api.admin.team_admin import MembershipInline
from providers.admin.deletion_admin import SlicedDeletion
from proxysite.audit import audit_admin  # noqa: F401 - registers its pages

PERMISSION_FIELDS = ("is_staff", "is_superuser", "groups", "user_permissions")

admin.site.unregister([ClockedSchedule, SolarSchedule, User])


@admin.register(User)
class PersonAdmin(SlicedDeletion, UserAdmin):  # type: ignore[type-arg]
    """Django's admin of users, with deletions in slices.

    Only superusers give rights: a member of staff who may change users could otherwise become a
    superuser. A user's page has the team and the limits of the user, for those who may see them.
    """

    def get_inlines(self, request: HttpRequest, obj: User | None) -> Any:
        return () if obj is None else (MembershipInline, UserLimitsInline)

    def get_fieldsets(self, request: HttpRequest, obj: User | None = None) -> Any:
        fieldsets = super().get_fieldsets(request, obj)
        if obj is None or not may_view_usage(request):
            return fieldsets
        return (*fieldsets, USAGE_FIELDSET)

    @admin.display(description="usage")
    def usage_section(self, row: User) -> SafeString:
        return render_usage_section("user", row)

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> list[str]:
        fields = [*super().get_readonly_fields(request, obj), "usage_section"]
        if not cast(User, request.user).is_superuser:
            fields += PERMISSION_FIELDS
        return fields

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
            lacking = {*lacking, "other members of staff"}
        return names, counts, lacking, protected
