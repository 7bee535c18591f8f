"""Turns of one conversation wait for one another, also for those of other processes."""

import asyncio
from datetime import timedelta

import pytest
from django.utils import timezone

from api.tests.endpoints.chat_messages import (
    answer_texts,
    assistant_message,
    get_sent_messages,
    user_message,
)
from api.tests.endpoints.conversations.turns import list_turns, send_turn
from conversations.models import Conversation, Turn
from providers.database.database_threads import run_in_thread
from proxysite.testing import speech, wait_until_true
from proxysite.testing.upstream import DONE, Gate, send_reply, send_stream


async def test_turns_of_one_conversation_wait_for_one_another(gateway, upstream, alice):
    gate = Gate()
    upstream.queue_scripts(
        send_stream(*speech.content_chunks("One"), gate, *speech.streamed_completion("."), DONE),
        *answer_texts("Two.", "Three."),
    )
    async with gateway.open_stream(
        alice.key, messages=[user_message("1")], conversation_id="c"
    ) as first:
        await first.read_until("One")
        others = [
            asyncio.create_task(send_turn(gateway, alice, number, conversation_id="c"))
            for number in ("2", "3")
        ]
        elsewhere = await send_turn(gateway, alice, "free", conversation_id="d")
        assert elsewhere.text == "Two."
        assert not any(other.done() for other in others)
        gate.open()
        await first.read_rest()
        assert [(await other).status for other in others] == [200, 200]
    roles = [message["role"] for message in get_sent_messages(upstream)]
    assert roles == ["user", "assistant", "user", "assistant", "user"]


@pytest.mark.settings(CONVERSATION_WAIT_SECONDS=0.2)
async def test_who_waits_too_long_for_the_turn_before_gets_a_409(gateway, upstream, alice):
    gate = Gate()
    upstream.queue_scripts(
        send_stream(*speech.content_chunks("One"), gate, *speech.streamed_completion("."), DONE)
    )
    async with gateway.open_stream(
        alice.key, messages=[user_message("1")], conversation_id="c"
    ) as first:
        await first.read_until("One")
        second = await send_turn(gateway, alice, "2", conversation_id="c")
        assert (second.status, second.error["code"]) == (409, "conversation_busy")
        gate.open()
        assert (await first.read_rest()).is_complete
    assert len(upstream.requests) == 1


@pytest.mark.settings(CONVERSATION_WAIT_SECONDS=0.2)
async def test_a_turn_of_another_process_is_waited_for_and_one_of_a_dead_process_is_ended(
    gateway, upstream, alice
):
    upstream.set_default_script(send_reply(speech.chat_completion("Hello.")))
    await send_turn(gateway, alice, "1", conversation_id="c")
    (row,) = await list_turns()
    alive = {"status": "in_progress", "alive_until": timezone.now() + timedelta(hours=1)}
    await run_in_thread(lambda: Turn.objects.filter(pk=row.pk).update(**alive))
    assert (await send_turn(gateway, alice, "2", conversation_id="c")).status == 409
    await run_in_thread(
        lambda: Turn.objects.filter(pk=row.pk).update(
            alive_until=timezone.now() - timedelta(seconds=1)
        )
    )
    assert (await send_turn(gateway, alice, "2", conversation_id="c")).status == 200
    assert [(row.status, (row.error or {}).get("code")) for row in await list_turns()] == [
        ("incomplete", "interrupted"),
        ("completed", None),
    ]


async def test_who_leaves_the_line_begins_nothing(gateway, upstream, alice):
    gate = Gate()
    upstream.queue_scripts(
        send_stream(*speech.content_chunks("One"), gate, *speech.streamed_completion("."), DONE),
        *answer_texts("Three."),
    )
    async with gateway.open_stream(
        alice.key, messages=[user_message("1")], conversation_id="c"
    ) as first:
        await first.read_until("One")
        waiting = asyncio.create_task(send_turn(gateway, alice, "2", conversation_id="c"))
        await asyncio.sleep(0)
        await wait_until_true(lambda: gateway.inner.requests_in_flight == 2)
        waiting.cancel()
        await wait_until_true(lambda: gateway.inner.requests_in_flight == 1)
        gate.open()
        await first.read_rest()
    await send_turn(gateway, alice, "3", conversation_id="c")
    assert get_sent_messages(upstream) == [
        user_message("1"),
        assistant_message("One."),
        user_message("3"),
    ]
    assert len(await list_turns()) == 2


async def test_a_new_name_is_begun_once_by_many_at_the_same_moment(gateway, upstream, alice):
    upstream.set_default_script(send_reply(speech.chat_completion("Hello.")))
    answers = await asyncio.gather(
        *(send_turn(gateway, alice, str(number), conversation_id="new") for number in range(8))
    )
    assert {answer.status for answer in answers} == {200}
    assert await run_in_thread(Conversation.objects.count) == 1
    assert [row.number for row in await list_turns()] == list(range(1, 9))
