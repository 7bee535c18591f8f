"""The page of the live board, its frames for browsers that poll, and the pages of long tasks."""

import asyncio
import json

import pytest

from providers.database.database_threads import run_in_thread
from providers.models import TaskProgress
from providers.task_progress import create_progress, finish_progress
from proxysite.testing.upstream import keep_silent
from proxysite.tests.desk.live.viewers import MAY_WATCH, MAY_WATCH_ALL, sign_in


async def read_frame(gateway, cookie):
    answer = await gateway.send_request("GET", "/admin/live/frame", headers={"cookie": cookie})
    return answer.status, json.loads(answer.body)


async def test_a_browser_without_a_websocket_polls_frames(gateway, upstream, alice):
    cookie, _ = await sign_in(*MAY_WATCH)
    upstream.queue_scripts(keep_silent)
    asked = asyncio.create_task(gateway.request_chat(alice.key))
    await upstream.wait_for_request()
    status, frame = await read_frame(gateway, cookie)
    assert (status, frame["kind"]) == (200, "snapshot")
    assert [row["user"] for row in frame["running"]] == ["alice"]
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)


@pytest.mark.parametrize(("permissions", "fields"), [((), {}), (MAY_WATCH, {"is_staff": False})])
async def test_frames_are_for_staff_with_the_permission(gateway, permissions, fields):
    cookie, _ = await sign_in(*permissions, **fields)
    status, body = await read_frame(gateway, cookie)
    assert (status, list(body)) == (403, ["error"])
    assert not gateway.live_board.is_running


async def test_frames_are_not_for_strangers(gateway):
    status, body = await read_frame(gateway, "sessionid=invented")
    assert (status, list(body)) == (403, ["error"])


async def test_polled_frames_hide_tokens_from_those_who_may_not_see_them(gateway):
    cookie, _ = await sign_in(*MAY_WATCH)
    _, frame = await read_frame(gateway, cookie)
    assert "changes" not in frame
    cookie, _ = await sign_in(*MAY_WATCH_ALL, name="operator")
    _, frame = await read_frame(gateway, cookie)
    assert "changes" in frame


async def test_the_page_is_for_staff_with_the_permission(gateway):
    cookie, _ = await sign_in(*MAY_WATCH)
    answer = await gateway.send_request("GET", "/admin/live/", headers={"cookie": cookie})
    assert answer.status == 200
    assert 'id="live-board"' in answer.body.decode()
    assert 'id="live-tasks"' not in answer.body.decode()
    cookie, _ = await sign_in(name="other")
    answer = await gateway.send_request("GET", "/admin/live/", headers={"cookie": cookie})
    assert answer.status == 403


# --- long tasks -----------------------------------------------------------------------------------
@pytest.fixture
def task(db):
    return create_progress("token import", "Import of <keys>", total=10, started_by="ann")


def test_the_page_of_a_task_shows_how_far_it_is_and_its_result(admin_client, task):
    page = admin_client.get(f"/admin/tasks/{task.pk}/").content.decode()
    assert "Import of &lt;keys&gt;" in page
    assert "data-refresh-again" in page
    finish_progress(task.pk, "9 new", result={"new": 9})
    part = admin_client.get(f"/admin/tasks/{task.pk}/part").content.decode()
    assert "9 new" in part
    assert "data-refresh-again" not in part
    assert "<td>9</td>" in admin_client.get(f"/admin/tasks/{task.pk}/").content.decode()


def test_a_task_with_a_page_of_its_own_leads_there(admin_client, db):
    task = create_progress("token check", "Check", url="/admin/tokens/upstreamtoken/")
    assert admin_client.get(f"/admin/tasks/{task.pk}/").url == "/admin/tokens/upstreamtoken/"


def test_a_task_is_stopped_by_a_post_alone(admin_client, task):
    assert admin_client.get(f"/admin/tasks/{task.pk}/stop").status_code == 405
    answer = admin_client.post(f"/admin/tasks/{task.pk}/stop")
    assert answer.url == f"/admin/tasks/{task.pk}/"
    assert TaskProgress.objects.get().stop_requested
    assert "Stopping" in admin_client.get(f"/admin/tasks/{task.pk}/part").content.decode()


@pytest.mark.parametrize(("name", "status"), [("ann", 200), ("bob", 403)])
def test_a_task_is_for_whoever_started_it(client, django_user_model, task, name, status):
    client.force_login(django_user_model.objects.create_user(name, is_staff=True))
    assert client.get(f"/admin/tasks/{task.pk}/").status_code == status
    assert client.get(f"/admin/tasks/{task.pk}/part").status_code == status
    assert client.post(f"/admin/tasks/{task.pk}/stop").status_code in (302, status)


async def test_a_deleted_task_is_404(gateway):
    cookie, _ = await sign_in(*MAY_WATCH)
    task = await run_in_thread(create_progress, "token import", "x")
    await run_in_thread(task.delete)
    path = f"/admin/tasks/{task.pk or '00000000-0000-0000-0000-000000000000'}/"
    answer = await gateway.send_request("GET", path, headers={"cookie": cookie})
    assert answer.status == 404
