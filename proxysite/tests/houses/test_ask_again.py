"""The button “Ask again now” closes a circuit breaker in each process of the gateway."""

import asyncio
import re

import pytest
from django.conf import settings

from proxysite.testing import wait_until_true
from proxysite.testing.upstream import answer_honestly
from proxysite.tests.houses.house_workers import list_workers, open_client, run_only, start_workers

pytestmark = pytest.mark.skipif(settings.EMBEDDED_DATABASE, reason="SQLite is for one process")
PASSWORD = "a-password-of-the-operator-1"
OPEN_SQL = """INSERT INTO tokens_breakerstate
    (provider_id, open_until, opened_at, changed_at, cause, reason, callers, asked_models, process)
    SELECT id, now() + interval '10 minutes', now(), now(), 'failed', 'overloaded', '[]', '[]', 'x'
    FROM providers_provider WHERE name = 'fake'"""
SET_PASSWORD = (
    "from django.contrib.auth.models import User; "
    f"u = User.objects.get(username='admin'); u.set_password('{PASSWORD}'); u.save()"
)


async def ask_for_answer(http, key):
    body = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
    headers = {"authorization": f"Bearer {key}"}
    answer = await http.post("/v1/chat/completions", json=body, headers=headers)
    return answer.status_code


async def post_form(http, page, action, **values):
    """Post a form with the CSRF token of a page."""
    html = (await http.get(page)).text
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', html)
    assert token is not None, html
    headers = {"referer": f"{http.base_url}{page}"}
    return await http.post(
        action, data={"csrfmiddlewaretoken": token[1], **values}, headers=headers
    )


@pytest.mark.timeout(180)
async def test_a_breaker_is_closed_in_every_process(own_house, house_key, house_upstream):
    house_upstream.set_default_script(answer_honestly("Hello"))
    await asyncio.to_thread(own_house.run_manage_command, "shell", "-c", SET_PASSWORD)
    await asyncio.to_thread(own_house.run_sql, OPEN_SQL)
    await start_workers(own_house, 2)

    async def is_answered(worker, status):
        async with open_client(own_house) as http:
            return await ask_for_answer(http, house_key) == status

    for worker in list_workers(own_house):
        with run_only(own_house, worker):
            await wait_until_true(lambda worker=worker: is_answered(worker, 503))
    async with open_client(own_house) as http:
        login = {"username": "admin", "password": PASSWORD}
        await post_form(http, "/admin/login/", "/admin/login/", **login)
        provider_id = (
            await asyncio.to_thread(
                own_house.run_sql, "SELECT id FROM providers_provider WHERE name = 'fake'"
            )
        )[0][0]
        page = f"/admin/providers/provider/{provider_id}/"
        answer = await post_form(http, f"{page}change/", f"{page}ask-again/")
        assert answer.status_code == 302
    for worker in list_workers(own_house):
        with run_only(own_house, worker):
            await wait_until_true(lambda worker=worker: is_answered(worker, 200))
