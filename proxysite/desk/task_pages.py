"""The page of a long task: how far it has come, its result, and a button that stops it."""

from uuid import UUID

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from providers.admin.page_times import render_time
from providers.models import TaskProgress
from providers.task_progress import request_stop

VIEW_PERMISSION = "providers.view_taskprogress"
CHANGE_PERMISSION = "providers.change_taskprogress"


def find_task(request: HttpRequest, task_id: UUID, permission: str) -> TaskProgress:
    """Return the task. Raises Http404, or PermissionDenied.

    Its page is for whoever started it, and for staff with the permission.
    """
    task = get_object_or_404(TaskProgress, pk=task_id)
    is_own = bool(task.started_by) and task.started_by == request.user.get_username()
    if not is_own and not request.user.has_perm(permission):
        raise PermissionDenied
    return task


def build_context(task: TaskProgress) -> dict[str, object]:
    """Return the template's variables for a task."""
    return {"task": task, "may_stop": task.finished_at is None and not task.stop_requested}


@require_GET
@admin.site.admin_view
def show_task(request: HttpRequest, task_id: UUID) -> HttpResponse:
    """Show the page of a task, which may be one of its own."""
    task = find_task(request, task_id, VIEW_PERMISSION)
    if task.url:
        return redirect(task.url)
    context = admin.site.each_context(request) | build_context(task)
    facts = {name: value for name, value in task.result.items() if isinstance(value, str | int)}
    context |= {
        "title": task.title,
        "started_at": render_time(task.started_at),
        "facts": facts,
    }
    return render(request, "admin/live/task.html", context)


@require_GET
@admin.site.admin_view
def show_task_part(request: HttpRequest, task_id: UUID) -> HttpResponse:
    """Show the part of the page that changes; its script asks for it again and again."""
    task = find_task(request, task_id, VIEW_PERMISSION)
    response = render(request, "admin/live/progress.html", build_context(task))
    response.headers["Cache-Control"] = "no-store"
    return response


@require_POST
@admin.site.admin_view
def stop_task(request: HttpRequest, task_id: UUID) -> HttpResponse:
    """Ask a task to stop; it does so at its next report."""
    task = find_task(request, task_id, CHANGE_PERMISSION)
    request_stop(task.pk)
    return redirect("task-progress", task.pk)
