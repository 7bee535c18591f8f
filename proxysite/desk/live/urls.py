"""The URLs of the live board and of long tasks, below /admin/."""

from django.urls import path

from proxysite.desk.live import pages, task_pages

urlpatterns = [
    path("live/", pages.show_live_board, name="live-board"),
    path("live/frame", pages.read_live_frame, name="live-frame"),
    path("tasks/<uuid:task_id>/", task_pages.show_task, name="task-progress"),
    path("tasks/<uuid:task_id>/part", task_pages.show_task_part, name="task-progress-part"),
    path("tasks/<uuid:task_id>/stop", task_pages.stop_task, name="task-stop"),
]
