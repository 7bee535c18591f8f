"""The page of the live board, and its frames for browsers that cannot open a WebSocket."""

from uuid import UUID

from django.contrib import admin
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from proxysite.desk.live.board import BOARD_SCOPE_KEY, LIVE_PATH, LiveBoard
from proxysite.desk.live.live_labels import list_labels
from proxysite.desk.live.viewer_access import POOL_PERMISSION, WATCH_PERMISSION


@require_GET
@admin.site.admin_view
def show_live_board(request: HttpRequest) -> HttpResponse:
    """Show the page; its script then opens the WebSocket."""
    if not request.user.has_perm(WATCH_PERMISSION):
        raise PermissionDenied
    # loaded here, in a thread, so that the event loop need not
    from proxysite.desk.live import viewer_socket, watch  # noqa: F401
    from proxysite.server.connections import viewer_connection  # noqa: F401

    context = admin.site.each_context(request) | {
        "title": _("Live board"),
        "socket_path": LIVE_PATH,
        "with_pool": request.user.has_perm(POOL_PERMISSION),
        "record_url": reverse("admin:api_usagerecord_change", args=[UUID(int=0)]),
        "labels": list_labels(),
    }
    return render(request, "admin/live/board.html", context)


@require_GET
async def read_live_frame(request: HttpRequest) -> HttpResponse:
    """Return a snapshot of the board as JSON, to staff who may see it."""
    user = await request.auser()
    if not await may_watch(user):
        return JsonResponse({"error": "You may not see the live board."}, status=403)
    board: LiveBoard | None = getattr(request, "scope", {}).get(BOARD_SCOPE_KEY)
    try:
        if board is None:
            raise TimeoutError
        snapshot = await board.read_snapshot(await user.ahas_perm(POOL_PERMISSION))
    except TimeoutError:
        return JsonResponse({"error": "The live board is not ready."}, status=503)
    headers = {"Cache-Control": "no-store"}
    return HttpResponse(snapshot, content_type="application/json", headers=headers)


async def may_watch(user: User | AnonymousUser) -> bool:
    """Return whether this user may see the live board."""
    return user.is_active and user.is_staff and await user.ahas_perm(WATCH_PERMISSION)
