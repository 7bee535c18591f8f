"""The admin of periodic tasks: when they run, and for superusers also what runs.

The arguments of a task are as powerful as a command line: with them one could let an e-mail for a
new password lead to another site. Other members of staff choose the times alone.
"""

from typing import Any

from django.contrib import admin
from django.forms import ModelForm
from django.http import HttpRequest
from django.utils.translation import gettext_lazy
from django_celery_beat.admin import PeriodicTaskAdmin
from django_celery_beat.models import PeriodicTask

CHANGE_PERMISSION = "django_celery_beat.change_periodictask"
TASK_FIELDS = ("name", "task", "args", "kwargs", "queue")
TIME_FIELDS = ("enabled", "interval", "crontab", "start_time", "last_run_at")
TIME_FIELDSETS = (
    (None, {"fields": TASK_FIELDS}),
    (gettext_lazy("Schedule"), {"fields": TIME_FIELDS}),
)


class ScheduledTaskAdmin(PeriodicTaskAdmin):  # type: ignore[misc]
    """The admin of django-celery-beat, in which only superusers say what runs."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return is_superuser(request) and super().has_add_permission(request)

    def get_fieldsets(self, request: HttpRequest, obj: PeriodicTask | None = None) -> Any:
        return super().get_fieldsets(request, obj) if is_superuser(request) else TIME_FIELDSETS

    def get_readonly_fields(self, request: HttpRequest, obj: PeriodicTask | None = None) -> Any:
        fields = super().get_readonly_fields(request, obj)
        return fields if is_superuser(request) else (*fields, *TASK_FIELDS)

    def get_form(
        self, request: HttpRequest, obj: PeriodicTask | None = None, **options: Any
    ) -> Any:
        """Return the form's class; that of the package wants the fields of the task, too."""
        if not is_superuser(request):
            options["form"] = ModelForm
        return super().get_form(request, obj, **options)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Return the actions, all of which change or run tasks."""
        may_change = request.user.has_perm(CHANGE_PERMISSION)
        return super().get_actions(request) if may_change else {}


def is_superuser(request: HttpRequest) -> bool:
    return bool(getattr(request.user, "is_superuser", False))


def replace_stock_admin() -> None:
    """Register our admin of periodic tasks instead of that of the package."""
    admin.site.unregister(PeriodicTask)
    admin.site.register(PeriodicTask, ScheduledTaskAdmin)
