"""The admin of users, and what the admin leaves out: schedules that nobody here needs."""

from typing import Any, cast

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import User
from django.http import HttpRequest
from django_celery_beat.models import ClockedSchedule, SolarSchedule

from providers.admin.deletion_admin import SlicedDeletion

RIGHTS = ("is_staff", "is_superuser", "groups", "user_permissions")

admin.site.unregister([ClockedSchedule, SolarSchedule, User])


@admin.register(User)
class PersonAdmin(SlicedDeletion, UserAdmin):  # type: ignore[type-arg]
    """Django's, with deletions that stop nobody, and rights that only superusers give: who may
    change users could otherwise make himself one.
    """

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        fields = super().get_readonly_fields(request, obj)
        return fields if cast(User, request.user).is_superuser else (*fields, *RIGHTS)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may_touch(request, obj) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may_touch(request, obj) and super().has_delete_permission(request, obj)

    @staticmethod
    def may_touch(request: HttpRequest, obj: Any) -> bool:
        """Other staff is for superusers: its password opens what it may do."""
        person = cast(User, request.user)
        return (
            obj is None
            or person.is_superuser
            or obj.pk == person.pk
            or not (obj.is_staff or obj.is_superuser)
        )

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """As for one, so for many: somebody among them who may not be touched forbids it."""
        names, counts, lacking, protected = super().get_deleted_objects(objs, request)
        if any(not self.may_touch(request, person) for person in objs):
            lacking = {*lacking, "other members of staff"}
        return names, counts, lacking, protected
