"""Conversations on a site that keeps them itself: it gets the new turn alone, on the token that
began, while it can.
"""

import asyncio
import threading

import pytest

from conversations.models import Conversation
from providers.database.database_threads import run_in_thread
from providers.tests.kimi_site import Site, framed, frames, jwt, web_events
from proxysite.testing import rows, wait_until_true
from proxysite.testing.upstream import CUT, send_reply
from tokens.models import State, UpstreamToken


@pytest.fixture(params=["kimi_web", "kimi_rest"])
def kind(request):
    return request.param


@pytest.fixture
async def provider(upstream, transactional_db, kind):
    def make():
        row = rows.create_provider(
            upstream.url, models=(), kind=kind, native_tools=False, reports_usage=False
        )
        rows.create_model(row, "m", "SCENARIO_K2D5", capabilities=["chat"])
        return row

    return await run_in_thread(make)


@pytest.fixture
async def token(provider):
    first, _ = await run_in_thread(rows.create_tokens, provider, jwt("june"), jwt("july"))
    return first


@pytest.fixture
async def site(upstream, kind):
    found = Site(kind)
    upstream.set_default_script(found)
    return found


def asked(question):
    """(chat, parent, text) of one question to the site."""
    if "path" in question:
        return question["path"].split("/")[2], None, question["messages"][0]["content"]
    return (
        question.get("chat_id"),
        question["message"].get("parent_id"),
        question["message"]["blocks"][0]["text"]["content"],
    )


async def turn(gateway, alice, *texts, **more):
    messages = [{"role": "user", "content": text} for text in texts]
    answer = await gateway.request_chat(alice.key, messages=messages, conversation_id="c", **more)
    assert answer.status == 200, answer
    return answer


def bearers(upstream):
    return [
        request.bearer_token
        for request in upstream.requests
        if "ompletion" in request.path or "Chat" in request.path
    ]


async def test_the_site_gets_the_new_turn_alone_in_its_own_chat_and_by_the_same_token(
    gateway, upstream, site, alice
):
    for text in ("I am Ann.", "Who am I?", "Sure?"):
        await turn(gateway, alice, text)
    chats = [asked(question) for question in site.questions]
    assert [text for _, _, text in chats] == ["I am Ann.", "Who am I?", "Sure?"]
    row = await run_in_thread(Conversation.objects.get)
    assert {chat for chat, _, _ in chats[1:]} == {row.chat_id}
    assert len({request.bearer_token for request in upstream.requests}) == 1
    assert site.deleted == []


async def test_when_the_token_is_gone_the_history_is_told_anew_by_another(
    gateway, upstream, site, alice
):
    await turn(gateway, alice, "I am Ann.")
    row = await run_in_thread(Conversation.objects.get)
    await run_in_thread(
        lambda: UpstreamToken.objects.filter(pk=row.token_id).update(state=State.DISABLED)
    )
    await gateway.reload_rows()
    await turn(gateway, alice, "Who am I?")
    chat, _, text = asked(site.questions[-1])
    assert chat != row.chat_id
    assert text == "user: I am Ann.\nassistant: Hello there!\nuser: Who am I?"
    assert len({request.bearer_token for request in upstream.requests}) == 2
    await turn(gateway, alice, "Sure?")
    assert asked(site.questions[-1])[2] == "Sure?"


async def test_a_chat_that_somebody_deleted_is_told_anew(gateway, upstream, site, kind, alice):
    await turn(gateway, alice, "I am Ann.")
    code = "not_found" if kind == "kimi_web" else "chat.not_found"
    site.turns.append(
        send_reply({"code" if kind == "kimi_web" else "error_type": code, "message": "Gone."}, 404)
    )
    await turn(gateway, alice, "Who am I?")
    assert asked(site.questions[-1])[2].startswith("user: I am Ann.")


async def test_after_a_broken_answer_everything_is_told_anew(gateway, upstream, site, kind, alice):
    await turn(gateway, alice, "I am Ann.")
    if kind == "kimi_rest":
        pytest.skip("the same for both; the frames of a cut are those of Connect")
    site.turns.append(frames(*map(framed, web_events("Half of")[:-1]), CUT))
    await gateway.request_chat(
        alice.key, messages=[{"role": "user", "content": "Who?"}], conversation_id="c", stream=True
    )
    await turn(gateway, alice, "Who am I?")
    text = asked(site.questions[-1])[2]
    assert text.startswith("user: I am Ann.")
    assert "Half of\n\n[This answer was cut off before its end.]" in text


async def test_new_instructions_are_told_anew(gateway, site, alice):
    await turn(gateway, alice, "I am Ann.")
    brief = {"role": "system", "content": "Be brief."}
    await gateway.request_chat(
        alice.key, messages=[brief, {"role": "user", "content": "Who am I?"}], conversation_id="c"
    )
    assert asked(site.questions[-1])[2].startswith("system: Be brief.\nuser: I am Ann.")
    await gateway.request_chat(
        alice.key, messages=[brief, {"role": "user", "content": "Sure?"}], conversation_id="c"
    )
    assert asked(site.questions[-1])[2] == "Sure?"


async def test_the_own_token_is_waited_for_while_its_last_stream_is_given_back(
    gateway, site, kind, alice, monkeypatch
):
    from tokens.pool import stream_claims

    released, gate = stream_claims.release_token_row, threading.Event()

    def slow(token_id, request_id):
        gate.wait(5)
        released(token_id, request_id)

    monkeypatch.setattr(stream_claims, "release_token_row", slow)
    await turn(gateway, alice, "I am Ann.")
    second = asyncio.create_task(turn(gateway, alice, "Who am I?"))
    await wait_until_true(lambda: gateway.inner.requests_in_flight == 1)
    gate.set()
    await second
    assert asked(site.questions[-1])[2] == "Who am I?"
