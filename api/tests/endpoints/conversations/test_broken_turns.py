"""Turns that break off, fail or are refused: what stands in the log, and what is told of them."""

from api.tests.endpoints.chat_messages import (
    answer_texts,
    assistant_message,
    get_sent_messages,
    user_message,
)
from api.tests.endpoints.conversations.turns import REMEMBER, list_items, list_turns, send_turn
from conversations.models import Conversation
from providers.database.database_threads import run_in_thread
from proxysite.testing import speech, wait_until_true
from proxysite.testing.upstream import CUT, DONE, Gate, send_refusal, send_stream


async def test_a_broken_stream_is_stored_as_incomplete_and_never_told_as_finished(
    gateway, upstream, alice
):
    upstream.queue_scripts(
        send_stream(*speech.content_chunks("Once upon"), CUT), *answer_texts("Well.")
    )
    broken = await gateway.request_chat(
        alice.key, messages=[user_message("A tale!")], conversation_id="c", stream=True
    )
    assert broken.stream_error["code"] == "upstream_disconnected"
    (row,) = await list_turns()
    assert (row.status, row.error["code"]) == ("incomplete", "upstream_disconnected")
    assert [(item.text, item.status) for item in await list_items()] == [
        ("A tale!", "completed"),
        ("Once upon", "incomplete"),
    ]
    await send_turn(gateway, alice, "Go on.", conversation_id="c")
    cut = "Once upon\n\n[This answer was cut off before its end.]"
    assert get_sent_messages(upstream) == [
        user_message("A tale!"),
        assistant_message(cut),
        user_message("Go on."),
    ]


async def test_an_abandoned_answer_is_stored_as_incomplete(gateway, upstream, alice):
    gate = Gate()
    upstream.queue_scripts(send_stream(*speech.content_chunks("Once upon"), gate))
    async with gateway.open_stream(
        alice.key, messages=[user_message("A tale!")], conversation_id="c"
    ) as reading:
        await reading.read_until("upon")
        await reading.leave_early()

    async def ended():
        return [row for row in await list_turns() if row.status == "incomplete"]

    (row,) = await wait_until_true(ended)
    assert row.error["code"] == "abandoned"
    assert [item.text for item in await list_items()] == ["A tale!", "Once upon"]
    gate.open()


async def test_a_question_that_failed_is_not_part_of_the_conversation(gateway, upstream, alice):
    upstream.queue_scripts(send_refusal(400, "No such thing."), *answer_texts("Hello."))
    failed = await send_turn(gateway, alice, "Hello?", conversation_id="c")
    assert failed.status == 400
    assert (await send_turn(gateway, alice, "Hello?", conversation_id="c")).status == 200
    assert get_sent_messages(upstream) == [user_message("Hello?")]
    assert [row.status for row in await list_turns()] == ["failed", "completed"]


async def test_a_request_that_is_refused_leaves_nothing(gateway, upstream, alice):
    for more in (
        {
            "messages": [
                {"role": "user", "content": [{"type": "file", "file": {"file_id": "file-x"}}]}
            ]
        },
        {"n": 2},
    ):
        assert (await gateway.request_chat(alice.key, conversation_id="c", **more)).status == 400
    assert (await run_in_thread(Conversation.objects.count), len(upstream.requests)) == (0, 0)


async def test_an_answer_that_cannot_be_written_down_is_not_told_as_complete(
    gateway, upstream, alice, monkeypatch
):
    from django.db import OperationalError

    def away(finished):
        raise OperationalError("the disk is full")

    monkeypatch.setattr("conversations.history.finish_turn.write_turn_outcome", away)
    upstream.queue_scripts(
        send_stream(*speech.streamed_completion("Hello."), DONE), *answer_texts("Hello.")
    )
    streamed = await gateway.request_chat(alice.key, conversation_id="c", stream=True)
    assert streamed.events[-1]["error"]["code"] == "database_unavailable"
    assert not streamed.is_complete
    whole = await gateway.request_chat(alice.key, conversation_id="d")
    assert (whole.status, whole.error["code"]) == (503, "database_unavailable")


async def test_what_a_refused_or_failed_question_changed_is_changed_back(gateway, upstream, alice):
    upstream.queue_scripts(*answer_texts("One."), send_refusal(400, "No."), *answer_texts("Four."))
    first, other = ({"role": "system", "content": text} for text in ("Be brief.", "Be long."))
    session = await gateway.send_request("POST", "/v1/sessions", alice.key, json={})
    name = session.json["session_id"]
    bad = {"role": "user", "content": [{"type": "file", "file": {"file_id": "file-x"}}]}
    assert (
        await gateway.request_chat(
            alice.key, messages=[other, bad], session_id=name, headers=REMEMBER
        )
    ).status == 400
    assert (
        await gateway.send_request("GET", f"/v1/sessions/{name}", alice.key)
    ).status == 200  # it was there before
    await gateway.request_chat(
        alice.key, messages=[first, user_message("1")], session_id=name, headers=REMEMBER
    )
    assert (
        await gateway.request_chat(
            alice.key, messages=[other, bad], session_id=name, headers=REMEMBER
        )
    ).status == 400
    assert (
        await gateway.request_chat(
            alice.key, messages=[other, user_message("3")], session_id=name, headers=REMEMBER
        )
    ).status == 400
    await gateway.request_chat(
        alice.key, messages=[user_message("4")], session_id=name, headers=REMEMBER
    )
    assert get_sent_messages(upstream) == [
        first,
        user_message("1"),
        assistant_message("One."),
        user_message("4"),
    ]
