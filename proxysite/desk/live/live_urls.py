"""The URLs of the live board and of long tasks, below /admin/."""

from django.urls import path

from proxysite.desk import task_pages
from proxysite.desk.live import live_pages

urlpatterns = [
    path("live/", live_pages.show_live_board, name="live-board"),
    path("live/frame", live_pages.read_live_frame, name="live-frame"),
    path("tasks/<uuid:task_id>/", task_pages.show_task, name="task-progress"),
    path("tasks/<uuid:task_id>/part", task_pages.show_task_part, name="task-progress-part"),
    path("tasks/<uuid:task_id>/stop", task_pages.stop_task, name="task-stop"),
]
