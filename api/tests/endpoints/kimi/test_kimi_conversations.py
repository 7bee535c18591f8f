"""Conversations on a site that keeps them itself: it gets the new turn alone, on the token that
began, while it can.
"""

import asyncio
import threading

import pytest

from api.tests.endpoints.kimi.kimi_chats import read_question, send_turn
from conversations.models import Conversation
from providers.database.database_threads import run_in_thread
from providers.tests.kimi_site import framed, frames, web_events
from proxysite.testing import wait_until_true
from proxysite.testing.upstream import CUT, send_reply
from tokens.models import State, UpstreamToken


def list_chat_tokens(upstream):
    return [
        request.bearer_token
        for request in upstream.requests
        if "ompletion" in request.path or "Chat" in request.path
    ]


async def test_the_site_gets_the_new_turn_alone_in_its_own_chat_and_by_the_same_token(
    gateway, upstream, site, alice
):
    for text in ("I am Ann.", "Who am I?", "Sure?"):
        await send_turn(gateway, alice, text)
    chats = [read_question(question) for question in site.questions]
    assert [text for _, _, text in chats] == ["I am Ann.", "Who am I?", "Sure?"]
    row = await run_in_thread(Conversation.objects.get)
    assert {chat for chat, _, _ in chats[1:]} == {row.chat_id}
    assert len({request.bearer_token for request in upstream.requests}) == 1
    assert site.deleted == []


async def test_when_the_token_is_gone_the_history_is_told_anew_by_another(
    gateway, upstream, site, alice
):
    await send_turn(gateway, alice, "I am Ann.")
    row = await run_in_thread(Conversation.objects.get)
    await run_in_thread(
        lambda: UpstreamToken.objects.filter(pk=row.token_id).update(state=State.DISABLED)
    )
    await gateway.reload_rows()
    await send_turn(gateway, alice, "Who am I?")
    chat, _, text = read_question(site.questions[-1])
    assert chat != row.chat_id
    assert text == "user: I am Ann.\nassistant: Hello there!\nuser: Who am I?"
    assert len({request.bearer_token for request in upstream.requests}) == 2
    await send_turn(gateway, alice, "Sure?")
    assert read_question(site.questions[-1])[2] == "Sure?"


async def test_a_chat_that_somebody_deleted_is_told_anew(gateway, upstream, site, kind, alice):
    await send_turn(gateway, alice, "I am Ann.")
    code = "not_found" if kind == "kimi_web" else "chat.not_found"
    site.turns.append(
        send_reply({"code" if kind == "kimi_web" else "error_type": code, "message": "Gone."}, 404)
    )
    await send_turn(gateway, alice, "Who am I?")
    assert read_question(site.questions[-1])[2].startswith("user: I am Ann.")


async def test_after_a_broken_answer_everything_is_told_anew(gateway, upstream, site, kind, alice):
    await send_turn(gateway, alice, "I am Ann.")
    if kind == "kimi_rest":
        pytest.skip("the same for both; the frames of a cut are those of Connect")
    site.turns.append(frames(*map(framed, web_events("Half of")[:-1]), CUT))
    await gateway.request_chat(
        alice.key, messages=[{"role": "user", "content": "Who?"}], conversation_id="c", stream=True
    )
    await send_turn(gateway, alice, "Who am I?")
    text = read_question(site.questions[-1])[2]
    assert text.startswith("user: I am Ann.")
    assert "Half of\n\n[This answer was cut off before its end.]" in text


async def test_new_instructions_are_told_anew(gateway, site, alice):
    await send_turn(gateway, alice, "I am Ann.")
    brief = {"role": "system", "content": "Be brief."}
    await gateway.request_chat(
        alice.key, messages=[brief, {"role": "user", "content": "Who am I?"}], conversation_id="c"
    )
    assert read_question(site.questions[-1])[2].startswith("system: Be brief.\nuser: I am Ann.")
    await gateway.request_chat(
        alice.key, messages=[brief, {"role": "user", "content": "Sure?"}], conversation_id="c"
    )
    assert read_question(site.questions[-1])[2] == "Sure?"


async def test_the_own_token_is_waited_for_while_its_last_stream_is_given_back(
    gateway, site, kind, alice, monkeypatch
):
    from tokens.pool import stream_claims

    released, gate = stream_claims.release_token_row, threading.Event()

    def slow(token_id, request_id):
        gate.wait(5)
        released(token_id, request_id)

    monkeypatch.setattr(stream_claims, "release_token_row", slow)
    await send_turn(gateway, alice, "I am Ann.")
    second = asyncio.create_task(send_turn(gateway, alice, "Who am I?"))
    await wait_until_true(lambda: gateway.inner.requests_in_flight == 1)
    gate.set()
    await second
    assert read_question(site.questions[-1])[2] == "Who am I?"
