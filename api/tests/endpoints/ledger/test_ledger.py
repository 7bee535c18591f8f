"""The ledger: one row per accepted request in every exit path, whatever upstreams say."""

import asyncio

import pytest

from api.models import ApiKey
from api.tests.endpoints.late_answers import send_late
from providers.database.database_threads import run_in_thread
from proxysite.testing import rows, speech
from proxysite.testing.upstream import Gate, answer_honestly, send_reply


# --- one row each ---------------------------------------------------------------------------------
async def test_many_requests_at_once_have_one_row_each(gateway, upstream, alice):
    asked = [gateway.request_chat(alice.key, stream=bool(number % 2)) for number in range(60)]
    found = await asyncio.gather(*asked)
    assert {answer.status for answer in found} == {200}
    written = {f"req_{row.id.hex}" for row in await rows.read_usage_records()}
    assert written == {answer.headers["x-request-id"] for answer in found}
    assert len(written) == 60


async def test_ids_are_in_the_order_of_time(gateway, upstream, alice):
    ids = [(await gateway.request_chat(alice.key)).headers["x-request-id"] for _ in range(3)]
    assert [f"req_{row.id.hex}" for row in await rows.read_usage_records()] == ids
    assert all(row.id.version == 7 for row in await rows.read_usage_records())


HOSTILE = [
    "back\\slash \\N \\.",
    "tab\tline\nreturn\r",
    "quote\"'; DROP TABLE x; --",
    "\u2028 Grüße 🙂 \x7f",
    "{}%s$1,,",
]


@pytest.mark.parametrize("text", HOSTILE)
async def test_whatever_an_upstream_says_stands_in_the_row_as_it_is(gateway, upstream, alice, text):
    upstream.queue_scripts(send_reply(speech.openai_error_body(text), 500))
    shown = (await gateway.request_chat(alice.key)).error["message"]
    assert (await rows.read_only_usage_record()).attempts[0]["reason"] == shown
    for part in text.split():
        if part.isprintable():
            assert part in shown


@pytest.mark.parametrize("name", ["we\\ird\\N", "\\.", "a'b\"c", "Grüße🙂", "a,b{c}"])
async def test_whatever_a_model_is_called_stands_in_the_row_as_it_is(
    gateway, upstream, alice, name
):
    await run_in_thread(rows.create_alias, name, "m")
    await gateway.reload_rows()
    assert (await gateway.request_chat(alice.key, model=name)).status == 200
    assert (await rows.read_only_usage_record()).model == name


async def test_a_row_outlives_what_it_refers_to(gateway, upstream, alice, token, provider):
    gate = Gate()
    upstream.queue_scripts(send_late(gate, answer_honestly()))
    asking = asyncio.create_task(gateway.request_chat(alice.key))
    await upstream.wait_for_request()

    def delete():
        ApiKey.objects.all().delete()
        provider.delete()

    await run_in_thread(delete)
    gate.open()
    assert (await asking).status == 200
    assert (await rows.read_only_usage_record()).status == "complete"


async def test_a_refused_request_has_no_row(gateway, upstream, alice):
    assert (await gateway.request_chat(alice.key, temperature=9)).status == 400
    assert (await gateway.request_chat(alice.key, model="nothing")).status == 404
    assert (await gateway.request_chat("sk-ps-unknown")).status == 401
    assert await rows.read_usage_records() == []


# --- the database is away -------------------------------------------------------------------------
ODD_FIGURES = [True, False, -1, 10**30, 1e308, "7", None, [1], {"a": 1}, "\0", 2**31, 1.5]


@pytest.mark.parametrize("figure", ODD_FIGURES, ids=str)
async def test_whatever_an_upstream_says_of_its_usage_the_row_is_written(
    gateway, upstream, alice, figure
):
    usage = {
        "prompt_tokens": figure,
        "completion_tokens": figure,
        "total_tokens": figure,
        "cached_tokens": figure,
        "completion_tokens_details": {"reasoning_tokens": figure},
    }
    upstream.queue_scripts(send_reply(speech.chat_completion("hi") | {"usage": usage}))
    answer = await gateway.request_chat(alice.key)
    assert answer.status == 200
    row = await rows.read_only_usage_record()
    assert f"req_{row.id.hex}" == answer.headers["x-request-id"]
    assert (row.status, row.user_id, row.model) == ("complete", alice.user.pk, "m")
    assert isinstance(row.prompt_tokens, int)
    assert row.estimated


async def test_a_row_that_the_database_refuses_is_written_as_facts_alone(
    gateway, upstream, alice, monkeypatch, caplog
):
    monkeypatch.setattr(
        "providers.protocol.usage_meter.parse_count", lambda value: value
    )  # a fault that lets anything through
    usage = {"prompt_tokens": -5, "completion_tokens": 10**30}
    upstream.queue_scripts(send_reply(speech.chat_completion("hi") | {"usage": usage}))
    answer = await gateway.request_chat(alice.key)
    row = await rows.read_only_usage_record()
    assert f"req_{row.id.hex}" == answer.headers["x-request-id"]
    assert (row.status, row.http_status, row.user_id, row.model) == (
        "complete",
        200,
        alice.user.pk,
        "m",
    )
    assert (row.prompt_tokens, row.completion_tokens, row.estimated) == (0, 0, True)
    assert "refuses a row" in caplog.text
    caplog.clear()
