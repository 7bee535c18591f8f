"""The key of a session at the endpoints: it works at once, counts as its user, and ends in time."""

from django.test import Client

from api.key_rights import limit_rows
from providers.database.database_threads import run_in_thread
from proxysite.testing import rows, wait_until_true

PROMISED_SECONDS = 1.0  # in which a key that was revoked stops working


def open_key(user):
    """Return the key of a new session of the user, and the session's client."""
    client = Client()
    client.force_login(user)
    return client.post("/playground/key").json()["key"], client


async def test_the_key_works_until_the_logout_and_is_renewed_by_the_next_session(gateway, alice):
    key, client = await run_in_thread(open_key, alice.user)
    assert (await gateway.request_chat(key)).status == 200
    record = await rows.read_only_usage_record()
    assert record.user_id == alice.user.pk
    await run_in_thread(client.logout)

    async def is_refused():
        return (await gateway.request_chat(key)).status == 401

    await wait_until_true(is_refused, PROMISED_SECONDS)
    second, _ = await run_in_thread(open_key, alice.user)
    assert (await gateway.request_chat(second)).status == 200
    assert (await gateway.request_chat(key)).status == 401


async def test_the_requests_count_to_the_limits_of_the_user(gateway, alice):
    subject = {"user": alice.user}
    await run_in_thread(limit_rows.update_limits, subject, {"requests_per_minute": 2})
    key, _ = await run_in_thread(open_key, alice.user)
    assert (await gateway.request_chat(key)).status == 200
    assert (await gateway.request_chat(alice.key)).status == 200
    assert (await gateway.request_chat(key)).status == 429


async def test_the_key_opens_no_endpoint_of_staff(gateway, operator):
    key, _ = await run_in_thread(open_key, operator.user)
    assert (await gateway.send_request("GET", "/v1/models", key)).status == 200
    own = await gateway.send_request("GET", "/admin/tokens/stats", operator.key)
    assert own.status == 200
    assert (await gateway.send_request("GET", "/admin/tokens/stats", key)).status == 403
