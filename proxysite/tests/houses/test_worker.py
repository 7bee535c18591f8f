"""The embedded Celery worker and beat: a task that is due really runs, again and again, inside
`serve`.
"""

import asyncio

import httpx

from proxysite.testing import wait_until_true

PREPARE = """
from datetime import UTC, datetime
from django.contrib.sessions.models import Session
from django_celery_beat.models import IntervalSchedule, PeriodicTask
often = IntervalSchedule.objects.create(every=1, period="seconds")
PeriodicTask.objects.create(name="often", task="proxysite.tasks.clear_sessions", interval=often)
old, new = datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
Session.objects.create(session_key="old", session_data="", expire_date=old)
Session.objects.create(session_key="new", session_data="", expire_date=new)
"""
AGAIN = (
    "INSERT INTO django_session (session_key, session_data, expire_date) VALUES ('old', '', "
    "'2020-01-01')"
)


async def test_a_task_that_is_due_runs_and_runs_again(own_house, house_key):
    own_house.environment["EMBEDDED_WORKER"] = "true"
    await asyncio.to_thread(own_house.run_manage_command, "shell", "-c", PREPARE)
    await asyncio.to_thread(own_house.start)

    def sessions():
        return own_house.run_sql("SELECT session_key FROM django_session")

    for _ in range(2):
        await wait_until_true(lambda: sessions() == [("new",)], 20)
        own_house.run_sql(AGAIN)
    names = {
        name for (name,) in own_house.run_sql("SELECT name FROM django_celery_beat_periodictask")
    }
    assert {"check tokens", "renew tokens that end soon", "forget old sessions"} <= names
    assert await asyncio.to_thread(own_house.end_process) == 0
    assert "Traceback" not in own_house.output


async def test_messages_that_are_none_do_not_end_the_worker_for_good(own_house, house_key):
    own_house.environment["EMBEDDED_WORKER"] = "true"
    queue = own_house.home / "queue"
    await asyncio.to_thread(own_house.run_manage_command, "shell", "-c", PREPARE)
    await asyncio.to_thread(own_house.start)

    def sessions():
        return own_house.run_sql("SELECT session_key FROM django_session")

    def worker():
        return httpx.get(f"{own_house.url}/health", trust_env=False).json()["worker"]

    await wait_until_true(lambda: sessions() == [("new",)], 20)
    (queue / "0_half.celery.msg").write_text('{"body": "W1td')  # cannot be read
    await wait_until_true(lambda: (queue / "0_half.celery.msg.broken").exists(), 20)
    assert worker() == "ok"
    (queue / "0_none.celery.msg").write_text("{}")  # can be, and is no message: the worker ends
    await wait_until_true(lambda: worker() == "failed", 20)
    own_house.run_sql(AGAIN)
    await wait_until_true(lambda: sessions() == [("new",)], 30)
    assert worker() == "ok"
    assert await asyncio.to_thread(own_house.end_process) == 0
