"""Kimi's two web interfaces behind the gateway's own doors: what callers get, what becomes of
tokens and chats.
"""

import pytest

from api.tests.endpoints.kimi.kimi_provider import create_kimi_provider
from providers.database.database_threads import run_in_thread
from providers.models import ModelAlias
from providers.tests.kimi_site import (
    cmpl,
    framed,
    frames,
    jwt,
    rest_says,
    web_events,
    web_says,
)
from proxysite.testing import rows, wait_until_true
from proxysite.testing.upstream import END, Gate, send_reply, send_stream

CAPABILITIES = {
    "kimi_web": ["chat", "reasoning"],
    "kimi_rest": ["chat", "reasoning", "vision", "files"],
}
FOUND = {
    "event": "search_plus",
    "msg": {"type": "get_res", "title": "A", "url": "https://example.org/a"},
}


@pytest.fixture
async def provider(upstream, transactional_db, kind):
    def make():
        fields = {"capabilities": CAPABILITIES[kind], "search": "on"}
        row = create_kimi_provider(upstream.url, kind, **fields)
        ModelAlias.objects.create(alias="m-nosearch", public_id="m", search="off")
        return row

    return await run_in_thread(make)


@pytest.fixture
async def token(provider):
    (row,) = await run_in_thread(rows.create_tokens, provider, jwt())
    return row


def send_texts(kind, *texts):
    return web_says(*texts) if kind == "kimi_web" else rest_says(*texts)


def send_half(kind, *pieces):
    """An answer that says "Half of" and goes on with `pieces`, which end it."""
    if kind == "kimi_web":
        return frames(*map(framed, web_events("Half of")[:-1]), *pieces)
    return send_stream(cmpl("Half of"), *pieces)


def send_failure(kind, code, status):
    name = "code" if kind == "kimi_web" else "error_type"
    return send_reply({name: code, "message": "No."}, status)


async def test_the_whole_answer_is_the_streamed_one_and_no_chat_is_left(gateway, site, kind, alice):
    texts = ("Grüß ", "Gott ", "🙂", " – it is so.")
    site.turns.extend(send_texts(kind, *texts) for _ in range(2))
    whole = await gateway.request_chat(alice.key)
    streamed = await gateway.request_chat(alice.key, stream=True)
    assert (whole.status, streamed.status) == (200, 200)
    assert whole.text == streamed.text == "".join(texts)
    assert streamed.is_complete
    assert streamed.finish_reasons == [whole.json["choices"][0]["finish_reason"]] == ["stop"]
    await wait_until_true(lambda: len(site.deleted) == 2)


async def test_usage_is_counted_because_the_site_names_none(gateway, site, alice):
    answer = await gateway.request_chat(alice.key)
    usage = answer.json["usage"]
    assert usage["prompt_tokens"] > 0
    assert usage["completion_tokens"] > 0
    assert (await rows.read_only_usage_record()).completion_tokens == usage["completion_tokens"]


async def test_a_history_goes_up_as_one_text(gateway, site, kind, alice):
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "I am June."},
        {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": "Who am I?"},
    ]
    assert (await gateway.request_chat(alice.key, messages=messages)).status == 200
    [asked] = site.questions
    text = (
        asked["message"]["blocks"][0]["text"]["content"]
        if kind == "kimi_web"
        else asked["messages"][0]["content"]
    )
    assert text == "system: Be brief.\nuser: I am June.\nassistant: Hello.\nuser: Who am I?"


async def test_a_field_of_the_site_s_clients_turns_the_search_on_and_off(
    gateway, site, kind, alice
):
    for model, fields in (("m", {"use_search": False}), ("m-nosearch", {"use_search": True})):
        assert (await gateway.request_chat(alice.key, model=model, **fields)).status == 200
    searches = [
        bool(asked["tools"]) if kind == "kimi_web" else asked["use_search"]
        for asked in site.questions
    ]
    assert searches == [False, True]


async def test_an_alias_turns_the_search_off(gateway, site, kind, alice):
    for model in ("m", "m-nosearch"):
        assert (await gateway.request_chat(alice.key, model=model)).status == 200
    found = [
        bool(asked["tools"]) if kind == "kimi_web" else asked["use_search"]
        for asked in site.questions
    ]
    assert found == [True, False]


async def test_sources_reach_the_caller_as_annotations(gateway, site, kind, alice):
    if kind == "kimi_web":
        result = {"refIndex": 1, "base": {"title": "A", "url": "https://example.org/a"}}
        tool = {"block": {"id": "t", "tool": {"contents": [{"searchResult": result}]}}}
        text = "So\ue3a0cite\ue3a31\ue3a8."
        events = [
            tool,
            {"op": "append", "block": {"id": "1", "text": {"content": text}}},
            {"done": {}},
        ]
        turns = [frames(*map(framed, events), framed({}, 2)) for _ in range(2)]
    else:
        turns = [send_stream(FOUND, cmpl("So"), cmpl("."), "[DONE]") for _ in range(2)]
    site.turns.extend(turns)
    whole = await gateway.request_chat(alice.key)
    message = whole.json["choices"][0]["message"]
    assert message["content"] == ("So[1]." if kind == "kimi_web" else "So.")
    [cited] = message["annotations"]
    assert cited["type"] == "url_citation"
    assert (cited["url_citation"]["url"], cited["url_citation"]["title"]) == (
        "https://example.org/a",
        "A",
    )
    streamed = await gateway.request_chat(alice.key, stream=True)
    found = [event["choices"][0]["delta"] for event in streamed.events]
    assert [delta["annotations"] for delta in found if "annotations" in delta] == [
        message["annotations"]
    ]


async def test_a_token_that_is_refused_gets_its_strike_and_another_answers(
    gateway, three, site, kind, alice
):
    script = send_failure(kind, "auth.token.invalid", 401)
    site.turns.append(script)
    answer = await gateway.request_chat(alice.key)
    assert (answer.status, answer.text) == (200, "Hello there!")
    strikes = [(await gateway.read_token_row(row)).strikes for row in three]
    assert sorted(strikes) == [0, 0, 1]


async def test_a_token_that_streams_already_rests_and_another_answers(
    gateway, three, site, kind, alice
):
    site.turns.append(send_failure(kind, "chat.user_stream_pushing", 409))
    answer = await gateway.request_chat(alice.key)
    assert (answer.status, answer.text) == (200, "Hello there!")
    found = [await gateway.read_token_row(row) for row in three]
    assert [row.has_cooldown for row in found].count(True) == 1
    assert {row.strikes for row in found} == {0}


async def test_a_captcha_is_the_sites_trouble_and_no_strike(gateway, token, upstream, kind, alice):
    upstream.set_default_script(
        send_reply(b"<html>Are you human?</html>", 403, content_type="text/html")
    )
    assert (await gateway.request_chat(alice.key)).status == 502
    assert (await gateway.read_token_row(token)).strikes == 0


async def test_what_breaks_in_the_middle_ends_in_an_error_and_no_done(gateway, site, kind, alice):
    site.turns.append(send_half(kind, END))
    answer = await gateway.request_chat(alice.key, stream=True)
    assert answer.text == "Half of"
    assert answer.stream_error["code"] == "upstream_disconnected"
    await wait_until_true(lambda: site.deleted)


async def test_a_chat_is_deleted_when_the_caller_leaves(gateway, site, kind, alice):
    site.turns.append(send_half(kind, Gate()))
    async with gateway.open_stream(alice.key) as reading:
        await reading.read_until("Half of")
        await reading.leave_early()
    await wait_until_true(lambda: site.deleted)


async def test_images_are_refused_where_they_cannot_go(gateway, site, kind, alice):
    picture = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
    answer = await gateway.request_chat(
        alice.key, messages=[{"role": "user", "content": [picture]}]
    )
    assert (answer.status, answer.error["param"]) == (400, "messages")
    assert site.questions == []


async def test_an_image_goes_up_with_the_question(gateway, site, kind, alice):
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    parts = [{"type": "text", "text": "What is it?"}, picture]
    answer = await gateway.request_chat(alice.key, messages=[{"role": "user", "content": parts}])
    if kind == "kimi_web":
        assert answer.status == 400
        return
    assert answer.status == 200
    assert site.questions[0]["refs"] == ["file1"]
