"""Kimi's two web interfaces over real sockets: chats that come and go, and what goes wrong."""

import asyncio
from contextlib import aclosing
from typing import Any
from uuid import UUID

import pytest

from providers.exceptions import (
    AuthRejected,
    BadResponse,
    Disconnected,
    ProviderError,
    RateLimited,
    Rejected,
    ServerFailed,
    UpstreamError,
)
from providers.protocol.chunks import Chunk
from providers.protocol.request import COMPLETIONS, ChatRequest, Resume, UpstreamModel
from providers.tests.kimi_asking import TOKEN_ID, TURNS, Asking, text_of
from providers.tests.kimi_site import (
    framed,
    frames,
    web_events,
)
from proxysite.testing import wait_until_true
from proxysite.testing.upstream import CUT, END, Gate, send_reply


async def test_a_question_is_answered_and_its_chat_deleted(asking: Asking) -> None:
    asking.will(asking.says("Hello", ", June."))
    found = await asking.answer()
    assert (found["content"], found["finish_reason"]) == ("Hello, June.", "stop")
    [deleted] = await wait_until_true(lambda: asking.site.deleted)
    assert deleted in ("chatA", "chat1")
    assert {request.bearer_token for request in asking.upstream.requests} == {asking.secret}
    assert asking.attempt.status == 200
    assert asking.attempt.chat_id == "", "a deleted chat must not be gone on with"


async def test_nobody_waits_for_the_deletion(asking: Asking) -> None:
    site, gate = asking.site, Gate()

    async def slow(exchange: Any) -> None:
        if exchange.request.method == "DELETE" or exchange.request.path.endswith("DeleteChat"):
            await gate.wait_until_open()
        await site(exchange)

    asking.upstream.set_default_script(slow)
    assert (await asking.answer())["content"] == "Hello there!"
    assert site.deleted == []
    gate.open()
    await wait_until_true(lambda: site.deleted)


async def test_a_deletion_that_fails_is_nobodys_problem(asking: Asking) -> None:
    site = asking.site

    async def broken(exchange: Any) -> None:
        if exchange.request.method == "DELETE" or exchange.request.path.endswith("DeleteChat"):
            site.deleted.append("asked")
            await send_reply({"message": "No."}, 500)(exchange)
        else:
            await site(exchange)

    asking.upstream.set_default_script(broken)
    assert (await asking.answer())["content"] == "Hello there!"
    await wait_until_true(lambda: site.deleted)
    await wait_until_true(lambda: not asking.adapter._deletion_tasks)


async def test_a_chat_to_be_kept_stays_and_goes_on_with_the_new_turn_only(asking: Asking) -> None:
    await asking.answer(*TURNS[:2], wants_stored_chat=True)
    kept = (asking.attempt.chat_id, asking.attempt.parent_id)
    assert kept == (("chatA", "answerA") if asking.kind == "kimi_web" else ("chat1", "resp1"))
    resume = Resume(TOKEN_ID, *kept)
    asking.will(asking.says("You are June."))
    found = await asking.answer(*TURNS, wants_stored_chat=True, resume=resume)
    assert found["content"] == "You are June."
    first, second = asking.site.questions
    assert text_of(first).startswith("system: Be brief.\nuser: Hi.")
    assert text_of(second) == "Who am I?"
    if asking.kind == "kimi_web":
        assert (second["chat_id"], second["message"]["parent_id"]) == kept
        assert "chat_id" not in first
        assert "parent_id" not in first["message"]
    else:
        assert len(asking.site.created) == 1
        assert second["path"] == "api/chat/chat1/completion/stream"
    assert asking.attempt.chat_id == kept[0]
    assert asking.site.deleted == []


async def test_another_token_is_told_everything_in_a_chat_of_its_own(asking: Asking) -> None:
    await asking.answer(*TURNS, wants_stored_chat=True, resume=Resume(UUID(int=8), "chat9", "m9"))
    [asked] = asking.site.questions
    assert "Hello June." in text_of(asked)
    assert asked.get("chat_id") is None
    assert asking.attempt.chat_id in ("chatA", "chat1")


TOOLS = [
    {
        "type": "function",
        "function": {"name": "height", "parameters": {"type": "object", "properties": {}}},
    }
]


async def test_tools_are_told_in_words_again_in_a_chat_that_goes_on(asking: Asking) -> None:
    body = {"model": "m", "messages": TURNS, "tools": TOOLS}
    request = ChatRequest(
        "0" * 32,
        "chat/completions",
        "m",
        body,
        True,
        wants_stored_chat=True,
        resume=Resume(TOKEN_ID, "chatA"),
    )
    model = UpstreamModel("UPSTREAM", tools="prompt")
    async with aclosing(
        asking.adapter.ask_upstream(request, model, asking.credential, asking.attempt)
    ) as batches:
        assert [batch async for batch in batches]
    [asked] = asking.site.questions
    text = text_of(asked)
    assert text.startswith("system: Be brief.")
    assert "height" in text
    assert text.endswith("user: Who am I?")
    assert "Hello June." not in text


async def test_a_chat_that_is_gone_is_told_anew(asking: Asking) -> None:
    asking.will(asking.fails("not_found", 404), asking.says("You are June."))
    resume = Resume(TOKEN_ID, "chat9", "m9")
    found = await asking.answer(*TURNS, wants_stored_chat=True, resume=resume)
    assert found["content"] == "You are June."
    assert [("Hello June." in text_of(asked)) for asked in asking.site.questions] == [False, True]
    assert asking.attempt.chat_id in ("chatA", "chat1")


async def test_a_kept_chat_whose_answer_failed_is_deleted_and_one_that_went_on_is_not(
    asking: Asking,
) -> None:
    asking.will(asking.begins(END), asking.begins(END))
    with pytest.raises(Disconnected):
        await asking.answer(wants_stored_chat=True)
    assert len(await wait_until_true(lambda: asking.site.deleted)) == 1
    assert asking.attempt.chat_id == ""
    with pytest.raises(Disconnected):
        await asking.answer(*TURNS, wants_stored_chat=True, resume=Resume(TOKEN_ID, "chatA", "m9"))
    assert asking.attempt.chat_id == "chatA"
    assert not asking.adapter._deletion_tasks
    assert len(asking.site.deleted) == 1


async def test_a_chat_that_the_site_began_instead_of_the_kept_one_is_deleted(web: Asking) -> None:
    await web.answer(*TURNS, resume=Resume(TOKEN_ID, "chat9", "m9"))
    assert await wait_until_true(lambda: web.site.deleted) == ["chatA"]


async def test_a_chat_is_deleted_when_the_caller_leaves_in_the_middle(asking: Asking) -> None:
    gate = Gate()
    asking.will(asking.begins(gate))
    async with aclosing(asking.batches()) as batches:
        async for batch in batches:
            if any(chunk["choices"][0]["delta"].get("content") for chunk in batch):
                break
    await wait_until_true(lambda: asking.site.deleted)


async def test_a_chat_is_deleted_when_the_task_is_cancelled(asking: Asking) -> None:
    gate = Gate()
    asking.will(asking.begins(gate))
    task = asyncio.ensure_future(asking.answer())
    await wait_until_true(lambda: asking.attempt.chat_id)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await wait_until_true(lambda: asking.site.deleted)


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("unauthenticated", 401, AuthRejected),
        ("auth.token.invalid", 400, AuthRejected),
        ("auth.token.invalid", 200, AuthRejected),
        ("chat.user_stream_pushing", 409, RateLimited),
        ("chat.user_stream_pushing", 200, RateLimited),
        ("resource_exhausted", 429, RateLimited),
        ("anything", 429, RateLimited),
        ("invalid_argument", 400, Rejected),
        ("unavailable", 503, ServerFailed),
        ("anything", 200, BadResponse),
    ],
)
async def test_an_error_body_is_what_it_says(
    asking: Asking, code: str, status: int, expected: type[UpstreamError]
) -> None:
    asking.will(asking.fails(code, status))
    with pytest.raises(expected) as raised:
        await asking.answer()
    assert asking.secret not in raised.value.message


@pytest.mark.parametrize("status", [200, 403])
async def test_a_captcha_is_the_providers_trouble_and_no_strike(
    asking: Asking, status: int
) -> None:
    asking.will(send_reply(b"<html>Are you human?</html>", status, content_type="text/html"))
    with pytest.raises(ProviderError):
        await asking.answer()


@pytest.mark.parametrize("end", [END, CUT], ids=["closed", "reset"])
async def test_a_stream_that_breaks_off_is_broken_and_not_finished(
    asking: Asking, end: Any
) -> None:
    asking.will(asking.begins(end))
    chunks: list[Chunk] = []

    async def read() -> None:
        async for batch in asking.batches():
            chunks.extend(batch)

    with pytest.raises(Disconnected):
        await read()
    assert all(chunk["choices"][0]["finish_reason"] is None for chunk in chunks)


async def test_a_truncated_frame_at_a_proper_end_of_the_body_is_broken_too(web: Asking) -> None:
    web.will(frames(*map(framed, web_events("Half of")[:-1]), framed({"done": {}})[:-3]))
    with pytest.raises(Disconnected):
        await web.answer()


async def test_an_answer_that_says_done_is_whole_whatever_becomes_of_the_trailer(
    web: Asking,
) -> None:
    web.will(frames(*map(framed, web_events("Yes.")), END))
    found = await web.answer()
    assert (found["content"], found["finish_reason"]) == ("Yes.", "stop")


async def test_an_error_in_the_middle_ends_the_stream(asking: Asking) -> None:
    if asking.kind == "kimi_web":
        asking.will(
            asking.begins(framed({"error": {"code": "resource_exhausted", "message": "Enough."}}))
        )
    else:
        error = {"event": "error", "error_type": "chat.user_stream_pushing", "message": "Enough."}
        asking.will(asking.begins(error))
    with pytest.raises(RateLimited, match="Enough"):
        await asking.answer()


async def test_a_frame_longer_than_the_limit_is_refused(web: Asking) -> None:
    web.will(web.begins(b"\x00\xff\xff\xff\xff"))
    with pytest.raises(BadResponse, match="too long"):
        await web.answer()


async def test_another_interface_than_chat_is_refused(asking: Asking) -> None:
    with pytest.raises(Rejected):
        await asking.answer(endpoint=COMPLETIONS)
    assert asking.upstream.requests == []


CONNECTIONS = {"kimi_web": 1, "kimi_rest": 2}  # the older one makes the chat by a call of its own


async def test_the_answer_is_over_with_its_last_message_and_the_connection_stays(
    asking: Asking,
) -> None:
    gate = Gate()
    asking.will(asking.ends(gate))
    assert (await asking.answer(wants_stored_chat=True))["content"] == "Half of"
    gate.open()
    await wait_until_true(lambda: any(asking.adapter.clients.relay._idle_connections.values()))
    await asking.answer(wants_stored_chat=True)
    assert asking.upstream.connections == CONNECTIONS[asking.kind]


async def test_a_connection_is_kept_for_the_next_request(asking: Asking) -> None:
    await asking.answer(wants_stored_chat=True)
    await asking.answer(wants_stored_chat=True)
    assert asking.upstream.connections == CONNECTIONS[asking.kind]
