"""What one caller may store, run and be sent has a bound, and whoever reaches it is told so."""

from typing import Any

import pytest

from api.tests.endpoints.responses.background_responses import (
    create_background_response,
    read_events,
    wait_for_stored_events,
)
from conversations.files import storage_quota
from conversations.models import Conversation, Turn
from providers.database.database_threads import run_in_thread
from proxysite.testing import rows, speech
from proxysite.testing.gateway import HELLO
from proxysite.testing.upstream import DONE, Gate, answer_honestly, send_stream


@pytest.fixture(autouse=True)
def _measured_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_quota, "_size_by_user", {})
    monkeypatch.setattr(storage_quota, "MEASURE_AGAIN_SECONDS", 0.0)


def long(size: int) -> list[dict[str, Any]]:
    return [{"role": "user", "content": "x" * size}]


# --- what is stored -------------------------------------------------------------------------------
@pytest.mark.settings(STORED_BYTES_PER_USER=100_000)
@pytest.mark.parametrize("fields", [{"store": True}, {"conversation_id": "mine"}], ids=str)
async def test_who_has_stored_too_much_is_told_and_may_still_ask(gateway, alice, mallory, fields):
    assert (await gateway.request_chat(alice.key, messages=long(30_000), **fields)).status == 200
    answer = await gateway.request_chat(alice.key, messages=long(40_000), **fields)
    assert (answer.status, answer.error["code"]) == (400, "storage_limit_exceeded")
    assert "97.7 KiB" in answer.error["message"]
    assert (await gateway.request_chat(alice.key, messages=long(40_000))).status == 200
    assert (await gateway.request_chat(mallory.key, messages=long(30_000), **fields)).status == 200
    assert await run_in_thread(Turn.objects.filter(user_id=alice.user.pk).count) == 1


@pytest.mark.settings(STORED_BYTES_PER_USER=100_000)
async def test_what_is_deleted_makes_room_at_once(gateway, alice):
    body = {"messages": long(30_000), "conversation_id": "mine"}
    assert (await gateway.request_chat(alice.key, **body)).status == 200
    assert (
        await gateway.request_chat(alice.key, **body | {"conversation_id": "other"})
    ).status == 400
    await run_in_thread(Conversation.objects.filter(user_id=alice.user.pk).delete)
    assert (
        await gateway.request_chat(alice.key, **body | {"conversation_id": "other"})
    ).status == 200


@pytest.mark.settings(STORED_BYTES_PER_USER=100_000)
async def test_responses_conversations_and_files_count_together(gateway, alice):
    text = "x" * 30_000
    assert (
        await gateway.send_request(
            "POST", "/v1/responses", alice.key, json={"model": "m", "input": text}
        )
    ).status == 200
    refused = await gateway.send_request(
        "POST", "/v1/responses", alice.key, json={"model": "m", "input": text}
    )
    assert (refused.status, refused.error["code"]) == (400, "storage_limit_exceeded")
    item = {"type": "message", "role": "user", "content": text}
    refused = await gateway.send_request(
        "POST", "/v1/conversations", alice.key, json={"items": [item]}
    )
    assert (refused.status, refused.error["code"]) == (400, "storage_limit_exceeded")
    body = {"model": "m", "input": text, "store": False}
    assert (await gateway.send_request("POST", "/v1/responses", alice.key, json=body)).status == 200


async def test_the_sum_is_that_of_the_rows(gateway, alice):
    await gateway.request_chat(alice.key, messages=long(10_000), store=True)
    measured = await run_in_thread(storage_quota.measure_stored_size, alice.user.pk)
    assert 20_000 < measured < 25_000  # the item, and its text
    assert storage_quota.get_stored_size(alice.user.pk, 60) == measured


@pytest.mark.settings(STORED_BYTES_PER_USER=0)
async def test_without_a_limit_nothing_is_measured(gateway, alice, monkeypatch):
    monkeypatch.setattr(
        storage_quota, "measure_stored_size", lambda user_id: pytest.fail("measured")
    )
    assert (await gateway.request_chat(alice.key, messages=HELLO, store=True)).status == 200


# --- one answer -----------------------------------------------------------------------------------
@pytest.mark.settings(STORED_ANSWER_BYTES=5_000)
@pytest.mark.parametrize("streamed", [True, False])
async def test_of_a_very_long_answer_the_beginning_is_stored_and_its_turn_says_so(
    gateway, upstream, alice, streamed
):
    words = ["word "] * 500
    upstream.set_default_script(
        send_stream(*speech.content_chunks(*words), *speech.streamed_completion("."), DONE)
        if streamed
        else answer_honestly("word " * 2_000)
    )
    answer = await gateway.request_chat(alice.key, stream=streamed, conversation_id="mine")
    assert answer.status == 200
    turn = await run_in_thread(Turn.objects.get)
    assert (turn.status, turn.error["code"]) == ("incomplete", "answer_too_long")
    kept = await run_in_thread(lambda: [item.text for item in turn.items.filter(output=True)])
    assert sum(map(len, kept)) < 5_000


@pytest.mark.settings(STORED_ANSWER_BYTES=5_000)
async def test_a_response_that_is_too_long_is_incomplete(gateway, upstream, alice):
    upstream.set_default_script(
        send_stream(
            *speech.content_chunks(*["word "] * 500), *speech.streamed_completion("."), DONE
        )
    )
    answer = await gateway.send_request(
        "POST", "/v1/responses", alice.key, json={"model": "m", "input": "x", "stream": True}
    )
    last = read_events(answer)[-1]
    assert (last["type"], last["response"]["incomplete_details"]) == (
        "response.incomplete",
        {"reason": "max_output_tokens"},
    )
    assert (await run_in_thread(Turn.objects.get)).status == "incomplete"


# --- a stream -------------------------------------------------------------------------------------
@pytest.mark.settings(UPSTREAM_STREAM_BYTES=600_000)
async def test_a_stream_without_end_is_cut_with_an_error_and_recorded_as_cut(
    gateway, upstream, alice
):
    upstream.set_default_script(
        send_stream(
            *speech.content_chunks(*["word "] * 10_000), *speech.streamed_completion("."), DONE
        )
    )
    answer = await gateway.request_chat(alice.key, stream=True)
    assert answer.stream_error["code"] == "bad_upstream_response"
    (record,) = await rows.read_usage_records()
    assert (record.status, record.error_code) == ("truncated", "bad_upstream_response")
    assert record.completion_tokens > 0


# --- in the background ----------------------------------------------------------------------------
@pytest.mark.settings(BACKGROUND_PER_USER=2)
async def test_a_user_has_so_many_responses_in_the_background(gateway, upstream, alice, mallory):
    gate = Gate()
    upstream.set_default_script(
        send_stream(*speech.content_chunks("One"), gate, *speech.streamed_completion("."), DONE)
    )
    answers = [await create_background_response(gateway, alice) for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert (answers[-1].error["type"], answers[-1].error["code"]) == (
        "requests",
        "rate_limit_exceeded",
    )
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert (await create_background_response(gateway, mallory)).status == 200
    gate.open()
    await wait_for_stored_events(gateway)
    assert (await create_background_response(gateway, alice)).status == 200
    await wait_for_stored_events(gateway)


@pytest.mark.settings(BACKGROUND_PER_USER=1)
async def test_a_response_that_was_refused_takes_no_place(gateway, alice):
    for _ in range(3):
        body = {"model": "nothing", "input": "x", "background": True}
        assert (
            await gateway.send_request("POST", "/v1/responses", alice.key, json=body)
        ).status == 404
    assert (await create_background_response(gateway, alice)).status == 200
    await wait_for_stored_events(gateway)
