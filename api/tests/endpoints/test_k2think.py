"""K2-Think's web site behind the gateway: what it is asked as user and guest, what callers get of
what it says.
"""

import json
from base64 import urlsafe_b64encode
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from providers import catalogue, registry
from providers.database.database_threads import run_in_thread
from providers.exceptions import AuthRejected, BadResponse, ModelMissing, RateLimited, ServerFailed
from providers.models import ModelAlias, Provider
from providers.network.clients import Clients
from providers.protocol.request import Credential
from providers.seed_presets import create_preset_rows
from proxysite.testing import rows
from proxysite.testing.upstream import Script, answer_honestly, send_reply, send_stream

K2 = "MBZUAI-IFM/K2-Think-v2"
TRANSCRIPTS = Path(__file__).parents[3] / "providers" / "tests" / "transcripts" / "k2think_web"
CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city": "Oslo"}'},
}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
CAPTCHA = b"<!DOCTYPE html><title>Just a moment...</title>"


@pytest.fixture
async def provider(upstream, transactional_db):
    """The row of the preset, with the loopback server in the site's place."""

    def make() -> Provider:
        row, _ = create_preset_rows("k2think-web")
        rows.move_providers(row, base_url=api(upstream), name="fake", allow_private=True)
        return row

    return await run_in_thread(make)


@pytest.fixture
async def guest(gateway, provider):
    """The gateway, with the provider switched to guests."""
    await run_in_thread(Provider.objects.filter(pk=provider.pk).update, mode="guest")
    await gateway.reload_rows()
    return gateway


def api(upstream: Any) -> str:
    return upstream.url.replace("/v1", "/api")


def growing(*snapshots: str, end: Any = "[DONE]") -> Script:
    return send_stream(*({"content": text} for text in snapshots), end)


def recorded(name: str) -> Script:
    return send_stream((TRANSCRIPTS / f"{name}.sse").read_bytes())


async def ask(gateway, alice, **body):
    return await gateway.request_chat(alice.key, **({"model": K2} | body))


def message(answer) -> Any:
    assert answer.status == 200, answer
    return answer.json["choices"][0]["message"]


def reasoning(answer) -> str:
    deltas = [choice["delta"] for event in answer.events for choice in event["choices"]]
    return "".join(delta.get("reasoning_content") or "" for delta in deltas)


# --- what the site is asked -----------------------------------------------------------------------
async def test_a_user_is_asked_for_as_the_sites_own_page_asks(gateway, upstream, alice):
    upstream.queue_scripts(growing("Hi", "Hi."))
    assert (
        await ask(gateway, alice, temperature=0.5, max_completion_tokens=7, top_p=0.9, seed=1)
    ).text == "Hi."
    asked = upstream.requests[0]
    assert (asked.method, asked.path, asked.bearer_token) == (
        "POST",
        "/api/chat/completions",
        "sk-up-1",
    )
    site = f"http://127.0.0.1:{upstream.port}"
    assert (asked.headers["origin"], asked.headers["referer"]) == (site, f"{site}/")
    assert asked.headers["accept"] == "text/event-stream,application/json"
    assert asked.headers["user-agent"] == "proxysite"
    assert not any(name.startswith("sec-") for name in asked.headers)
    body = asked.json
    assert body["stream"] is True
    assert body["model"] == K2
    assert body["messages"] == [{"role": "user", "content": "Hello!"}]
    assert body["params"] == {"temperature": 0.5, "max_tokens": 7, "top_p": 0.9}
    assert body["tool_servers"] == []
    assert body["features"] == {
        "image_generation": False,
        "code_interpreter": False,
        "web_search": False,
    }
    assert body["model_item"]["root"] == "ifm-k2-think-v2"
    assert (body["model_item"]["id"], body["model_item"]["owned_by"]) == (K2, "MBZUAI")
    assert body["variables"].keys() >= {
        "{{USER_NAME}}",
        "{{CURRENT_DATETIME}}",
        "{{CURRENT_TIMEZONE}}",
    }
    assert len({UUID(body[name]) for name in ("chat_id", "id", "session_id")}) == 3
    assert "seed" not in body


async def test_every_request_is_a_chat_of_its_own(gateway, upstream, alice):
    upstream.set_default_script(growing("Hi."))
    for _ in range(2):
        await ask(gateway, alice)
    first, second = (request.json for request in upstream.requests)
    assert not {first[name] for name in ("chat_id", "id", "session_id")} & {
        second["chat_id"],
        second["id"],
    }


async def test_a_guest_shows_no_token_and_has_no_system_message(guest, upstream, alice):
    upstream.queue_scripts(growing("Hi."))
    told = [
        ("system", "Be brief."),
        ("user", "Hello!"),
        ("assistant", "Hi."),
        ("developer", "In verse."),
        ("user", "?"),
    ]
    assert (
        await ask(guest, alice, messages=[{"role": role, "content": said} for role, said in told])
    ).text == "Hi."
    asked = upstream.requests[0]
    assert asked.path == "/api/guest/chat/completions"
    assert asked.headers["referer"].endswith("/guest")
    assert "authorization" not in asked.headers
    assert [(said["role"], said["content"]) for said in asked.json["messages"]] == [
        ("user", "Be brief.\n\nIn verse.\n\nHello!"),
        ("assistant", "Hi."),
        ("user", "?"),
    ]


async def test_a_guests_system_message_alone_becomes_a_question(guest, upstream, alice):
    upstream.queue_scripts(growing("Hi."))
    await ask(guest, alice, messages=[{"role": "system", "content": "Say hi."}])
    assert upstream.requests[0].json["messages"] == [{"role": "user", "content": "Say hi."}]


async def test_a_guests_system_message_stands_before_an_image(guest, upstream, alice):
    upstream.queue_scripts(growing("Hi."))
    await ask(
        guest,
        alice,
        messages=[{"role": "system", "content": "Rules."}, {"role": "user", "content": [IMAGE]}],
    )
    [said] = upstream.requests[0].json["messages"]
    assert said == {"role": "user", "content": [{"type": "text", "text": "Rules."}, IMAGE]}


async def test_calls_and_results_of_tools_reach_the_site_in_words(gateway, upstream, alice):
    upstream.queue_scripts(growing("It rains."))
    told = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "How is the weather?"},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": "rain, 4 degrees"},
    ]
    await ask(gateway, alice, messages=told)
    system, _, call, result = upstream.requests[0].json["messages"]
    assert system["role"] == "system"
    assert system["content"].startswith("Be brief.")
    assert (call["role"], result["role"]) == ("assistant", "user")
    assert "weather" in call["content"]
    assert "Oslo" in call["content"]
    assert "weather" in result["content"]
    assert "rain, 4 degrees" in result["content"]


async def test_texts_are_joined_and_images_stay_parts(gateway, upstream, alice):
    upstream.queue_scripts(growing("A cat."))
    text = [{"type": "text", "text": one} for one in ("What", "is it?")]
    told = [{"role": "user", "content": text}, {"role": "user", "content": [*text, IMAGE]}]
    await ask(gateway, alice, messages=told)
    asked = upstream.requests[0].json["messages"]
    assert asked == [
        {"role": "user", "content": "What\nis it?"},
        {"role": "user", "content": [*text, IMAGE]},
    ]


async def test_a_tool_that_is_offered_is_called_in_words_outside_the_thinking(
    gateway, upstream, alice
):
    tool = {
        "type": "function",
        "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}},
    }
    called = {
        "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
        ]
    }
    thought, said = f"Perhaps {json.dumps(called)}?", f"```json\n{json.dumps(called)}\n```"
    upstream.set_default_script(growing(f"<think>{thought}</think><answer>{said}</answer>"))
    whole = await ask(gateway, alice, tools=[tool])
    streamed = await ask(gateway, alice, tools=[tool], stream=True)
    assert whole.json["choices"][0]["finish_reason"] == "tool_calls"
    assert [call["function"]["name"] for call in message(whole)["tool_calls"]] == ["weather"]
    assert (streamed.finish_reasons, message(whole)["reasoning_content"], reasoning(streamed)) == (
        ["tool_calls"],
        thought,
        thought,
    )
    asked = upstream.requests[0].json
    assert "weather" in str(asked["messages"])
    assert "tools" not in asked


async def test_the_web_is_searched_where_the_model_or_its_alias_says_so(gateway, upstream, alice):
    upstream.queue_scripts(growing("News."))
    await run_in_thread(
        lambda: ModelAlias.objects.create(alias="k2-search", public_id=K2, search="on")
    )
    await gateway.reload_rows()
    await ask(gateway, alice, model="k2-search")
    assert upstream.requests[0].json["features"]["web_search"] is True


# --- what callers get -----------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["v1_details", "v2_open_missing", "v2_think", "plain"])
@pytest.mark.parametrize("how", ["parsed", "raw", "hidden"])
async def test_streamed_and_whole_answers_say_the_same(gateway, upstream, alice, name, how):
    upstream.set_default_script(recorded(name))
    whole = await ask(gateway, alice, reasoning_format=how)
    streamed = await ask(gateway, alice, reasoning_format=how, stream=True)
    assert streamed.is_complete
    assert streamed.finish_reasons == ["stop"]
    assert whole.text == streamed.text
    assert message(whole).get("reasoning_content", "") == reasoning(streamed)
    assert bool(reasoning(streamed)) == (how == "parsed" and name != "plain")
    assert ("<think>" in whole.text.split("```")[0]) == (how == "raw" and name != "plain")
    assert "answer>" not in whole.text
    assert whole.json["model"] == K2


async def test_thinking_is_reasoning_content_unless_the_caller_says_otherwise(
    gateway, upstream, alice
):
    upstream.set_default_script(
        growing("One", "One two</think>", "One two</think>\n<answer>Three</answer>")
    )
    found = message(await ask(gateway, alice))
    assert (found["reasoning_content"], found["content"]) == ("One two", "Three")
    inline = message(await ask(gateway, alice, reasoning_format="raw"))
    assert (inline.get("reasoning_content"), inline["content"]) == (
        None,
        "<think>One two</think>\n\nThree",
    )


@pytest.mark.parametrize(
    ("model", "thought"),
    [("MBZUAI-IFM/K2-Think", "a"), (f"{K2}-nothink", None), ("MBZUAI-IFM/K2-Think-nothink", None)],
)
async def test_the_names_that_clients_of_the_site_use_work(
    gateway, upstream, alice, model, thought
):
    upstream.queue_scripts(growing("<think>a</think>b"))
    answer = await ask(gateway, alice, model=model)
    assert (message(answer).get("reasoning_content"), answer.text, answer.json["model"]) == (
        thought,
        "b",
        model,
    )
    assert upstream.requests[0].json["model"] == K2


async def test_thinking_comes_while_its_block_is_open(gateway, upstream, alice):
    opened = '<details type="reasoning" done="false"><summary>Thinking…</summary>\nFirst'
    upstream.queue_scripts(
        send_stream(
            {"content": opened}, upstream.gate, {"content": opened + " b</details>Hi"}, "done"
        )
    )
    async with gateway.open_stream(alice.key, model=K2) as reading:
        await reading.read_until("First")
        upstream.gate.open()
        answer = await reading.read_rest()
    assert (reasoning(answer), answer.text) == ("First b", "Hi")


@pytest.mark.parametrize(
    "end", ["[DONE]", "DONE", "done", "-1", '"done"', {"done": True}, {"content": "", "done": True}]
)
async def test_every_word_that_ends_an_answer_ends_it(gateway, upstream, alice, end):
    upstream.queue_scripts(growing("Hi", "Hi.", end=end))
    answer = await ask(gateway, alice, stream=True)
    assert (answer.text, answer.finish_reasons, answer.is_complete) == ("Hi.", ["stop"], True)


async def test_a_finish_reason_of_the_site_is_the_callers(gateway, upstream, alice):
    said = [
        {"choices": [{"delta": {"content": "Hi"}}]},
        {"choices": [{"delta": {}, "finish_reason": "length"}]},
    ]
    upstream.queue_scripts(send_stream(*said, "[DONE]"))
    answer = await ask(gateway, alice, stream=True)
    assert (answer.text, answer.finish_reasons) == ("Hi", ["length"])


async def test_usage_is_the_sites_where_it_says_one(gateway, upstream, alice):
    upstream.queue_scripts(recorded("v1_details"))
    answer = await ask(gateway, alice, stream=True, stream_options={"include_usage": True})
    assert answer.events[-1]["usage"]["completion_tokens"] == 41
    assert (await rows.read_only_usage_record()).completion_tokens == 41


async def test_a_whole_answer_is_read_too(gateway, upstream, alice):
    said = {"role": "assistant", "content": "<think>a</think><answer>b</answer>"}
    upstream.set_default_script(
        send_reply(
            {"id": "x", "choices": [{"index": 0, "message": said}], "usage": None, "time_info": {}}
        )
    )
    assert (
        message(await ask(gateway, alice))["reasoning_content"],
        (await ask(gateway, alice)).text,
    ) == ("a", "b")
    streamed = await ask(gateway, alice, stream=True)
    assert (reasoning(streamed), streamed.text, streamed.finish_reasons) == ("a", "b", ["stop"])


async def test_events_that_say_nothing_do_no_harm(gateway, upstream, alice):
    upstream.queue_scripts(
        send_stream(
            "",
            "{}",
            "7",
            b": ping\n\n",
            {"choices": []},
            {"content": None},
            {"content": "Hi"},
            "[DONE]",
        )
    )
    assert (await ask(gateway, alice)).text == "Hi"


async def test_the_official_interface_gives_thinking_and_answer_too(gateway, upstream, alice):
    """It streams what is new, in OpenAI's form, and the opening tag of the thinking is missing
    there too.
    """

    def make() -> None:
        row, _ = create_preset_rows("k2think")
        rows.move_providers(row, base_url=upstream.url, allow_private=True)
        rows.create_tokens(row, "sk-official-1")

    await run_in_thread(make)
    await gateway.reload_rows()
    upstream.queue_scripts(
        answer_honestly("One ", "two</th", "ink>", "\n\nTh", "ree"),
        answer_honestly("One two</think>\n\nThree"),
        answer_honestly("One two</think>\n\nThree"),
    )
    streamed = await ask(gateway, alice, stream=True)
    assert (reasoning(streamed), streamed.text, streamed.finish_reasons, streamed.is_complete) == (
        "One two",
        "Three",
        ["stop"],
        True,
    )
    whole = message(await ask(gateway, alice))
    assert (whole["reasoning_content"], whole["content"]) == ("One two", "Three")
    assert message(await ask(gateway, alice, model=f"{K2}-nothink")) == {
        "role": "assistant",
        "content": "Three",
        "refusal": None,
    }
    assert {(asked.path, asked.bearer_token) for asked in upstream.requests} == {
        ("/v1/chat/completions", "sk-official-1")
    }


# --- what goes wrong ------------------------------------------------------------------------------
async def test_a_stream_that_nothing_ends_is_an_error(gateway, upstream, alice):
    upstream.queue_scripts(growing("<think>a</think>Hi", end=b""))
    answer = await ask(gateway, alice, stream=True)
    assert answer.stream_error["code"] == "upstream_disconnected"


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_token_is_struck(gateway, upstream, alice, token, status):
    upstream.set_default_script(send_reply({"detail": "Your session has expired"}, status))
    assert (await ask(gateway, alice)).error["code"] == "no_available_token"
    row = await gateway.read_token_row(token)
    assert row.strikes == 1
    assert "session has expired" in row.reason


async def test_a_guest_who_is_refused_costs_no_token(guest, upstream, alice, token):
    upstream.set_default_script(send_reply({"detail": "Guests are not welcome"}, 403))
    assert (await ask(guest, alice)).status == 503
    assert (await guest.read_token_row(token)).strikes == 0


@pytest.mark.parametrize("status", [400, 404])
async def test_a_model_that_the_site_no_longer_has_is_missing_and_no_tokens_fault(
    gateway, upstream, alice, token, status
):
    upstream.set_default_script(send_reply({"detail": "Model not found"}, status))
    answer = await ask(gateway, alice)
    assert (answer.status, answer.error["code"], answer.error["param"]) == (
        404,
        "model_not_found",
        "model",
    )
    assert (await gateway.read_token_row(token)).strikes == 0


async def test_a_refusal_that_looks_like_success_is_one(gateway, upstream, alice, token):
    upstream.set_default_script(send_reply({"detail": "Model not found"}))
    assert (await ask(gateway, alice)).status == 404
    upstream.set_default_script(send_reply({"detail": "Oops"}))
    assert (await ask(gateway, alice)).status == 502
    assert (await gateway.read_token_row(token)).strikes == 0


async def test_another_bad_request_is_the_callers(gateway, upstream, alice, token):
    upstream.queue_scripts(send_reply({"detail": "messages: too many"}, 400))
    answer = await ask(gateway, alice)
    assert (answer.status, answer.error["message"]) == (400, "messages: too many")
    assert len(upstream.requests) == 1
    assert (await gateway.read_token_row(token)).strikes == 0


@pytest.mark.parametrize("status", [200, 401, 403, 503])
async def test_a_captcha_strikes_no_token(gateway, upstream, alice, token, status):
    upstream.set_default_script(
        send_reply(CAPTCHA, status, content_type="text/html; charset=utf-8")
    )
    answer = await ask(gateway, alice)
    assert (answer.status, answer.error["type"]) == (502, "upstream_error")
    assert (await gateway.read_token_row(token)).strikes == 0
    assert gateway.count_failures()


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ({"error": {"message": "Broken."}}, 502),
        ({"detail": "Model not found"}, 404),
        ({"error": "Oh"}, 502),
    ],
)
async def test_an_error_inside_a_stream_is_an_error(gateway, upstream, alice, token, said, status):
    upstream.set_default_script(send_stream(said, "[DONE]"))
    assert (await ask(gateway, alice, stream=True)).status == status
    assert (await gateway.read_token_row(token)).strikes == 0


# --- beside the path ------------------------------------------------------------------------------
def jwt(**claims: Any) -> str:
    parts = (
        urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
        for part in ({"alg": "HS256"}, claims)
    )
    return ".".join([*parts, "c2ln"])


ENDS = datetime(2031, 1, 1, tzinfo=UTC)
TOKEN = jwt(id="u-1", exp=int(ENDS.timestamp()))


@pytest.fixture
async def adapter(provider):
    async with Clients() as clients:
        yield registry.get_adapter_class(provider.kind)(catalogue.make_upstream(provider), clients)


@pytest.fixture
async def guest_adapter(provider):
    provider.mode = "guest"
    async with Clients() as clients:
        yield registry.get_adapter_class(provider.kind)(catalogue.make_upstream(provider), clients)


def test_it_says_that_it_is_unofficial() -> None:
    found = registry.get_adapter_class("k2think_web")
    assert (found.is_official, found.can_sign_in, found.is_stream_only, found.modes) == (
        False,
        True,
        True,
        ("user", "guest"),
    )
    assert "unofficial" in found.label


async def test_an_account_signs_in_for_a_token_that_says_when_it_ends(adapter, upstream):
    upstream.queue_scripts(send_reply({"id": "u-1", "token": TOKEN, "token_type": "Bearer"}))
    fresh = await adapter.sign_in("ann@example.com", "secret")
    assert (fresh.secret, fresh.refresh_token, fresh.expires_at) == (TOKEN, "", ENDS)
    asked = upstream.requests[0]
    assert (asked.method, asked.path) == ("POST", "/api/v1/auths/signin")
    assert asked.json == {"email": "ann@example.com", "password": "secret"}
    assert "authorization" not in asked.headers


@pytest.mark.parametrize("body", [{"id": "u-1"}, b"ok", [], {"token": None}])
async def test_the_token_may_come_as_a_cookie(adapter, upstream, body):
    upstream.queue_scripts(send_reply(body, set_cookie=f"token={TOKEN}; Path=/; HttpOnly"))
    assert (await adapter.sign_in("ann@example.com", "secret")).secret == TOKEN


@pytest.mark.parametrize(
    ("script", "error"),
    [
        (send_reply({"detail": "The password secret is wrong"}, 400), AuthRejected),
        (send_reply({"detail": "No such account"}, 401), AuthRejected),
        (send_reply({"detail": "Slow down"}, 429), RateLimited),
        (send_reply({"detail": "Oops"}, 500), ServerFailed),
        (send_reply(CAPTCHA, 403, content_type="text/html"), BadResponse),
        (send_reply({"token": ""}), BadResponse),
        (send_reply({"token": "no\nheader"}), BadResponse),
        (send_reply({}, set_cookie="other=1"), BadResponse),
    ],
)
async def test_a_sign_in_that_fails_says_why_and_not_the_password(adapter, upstream, script, error):
    upstream.queue_scripts(script)
    with pytest.raises(error) as caught:
        await adapter.sign_in("ann@example.com", "secret")
    assert "secret" not in caught.value.message


async def test_a_check_asks_for_the_models(adapter, upstream):
    upstream.queue_scripts(
        send_reply({"data": [{"id": K2}]}),
        send_reply({"detail": "401 Unauthorized"}, 401),
        send_reply({"data": []}, 403),
    )
    assert await adapter.list_model_ids(Credential(None, TOKEN)) == [K2]
    for _ in range(2):
        with pytest.raises(AuthRejected):
            await adapter.probe_credential(Credential(None, TOKEN))
    assert [(asked.method, asked.path, asked.bearer_token) for asked in upstream.requests] == [
        ("GET", "/api/models", TOKEN)
    ] * 3


async def test_a_guest_is_checked_without_a_token(guest_adapter, upstream):
    upstream.queue_scripts(
        send_reply({"detail": "Not authenticated"}, 401), send_reply({"detail": "Oops"}, 500)
    )
    await guest_adapter.probe_credential(Credential(None, ""))
    with pytest.raises(ServerFailed):
        await guest_adapter.probe_credential(Credential(None, ""))
    assert "authorization" not in upstream.requests[0].headers


async def test_a_list_without_the_model_is_no_error(adapter, upstream):
    upstream.queue_scripts(send_reply({"detail": "Model not found"}, 400))
    with pytest.raises(ModelMissing):
        await adapter.list_model_ids(Credential(None, TOKEN))


async def test_more_than_one_choice_is_refused_and_not_forgotten(gateway, upstream, alice):
    answer = await ask(gateway, alice, n=3)
    assert (answer.status, answer.error["param"]) == (400, "n")
    assert upstream.requests == []


async def test_thinking_that_is_hidden_is_counted_all_the_same(gateway, upstream, alice):
    for how in ("parsed", "hidden"):
        upstream.queue_scripts(growing("<think>" + "Hm, hm. " * 50 + "</think>Yes."))
        await ask(gateway, alice, reasoning_format=how)
    shown, hidden = await rows.read_usage_records()
    assert hidden.completion_tokens == shown.completion_tokens > 100
    assert hidden.reasoning_tokens == shown.reasoning_tokens
