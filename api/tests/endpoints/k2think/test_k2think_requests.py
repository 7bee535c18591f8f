"""What K2-Think's web site is asked, as user and as guest."""

import json
from uuid import UUID

from api.tests.endpoints.k2think.k2think_site import (
    MODEL,
    join_reasoning,
    read_message,
    request_k2think,
    send_snapshots,
)
from providers.database.database_threads import run_in_thread
from providers.models import ModelAlias

CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city": "Oslo"}'},
}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


# --- what the site is asked -----------------------------------------------------------------------
async def test_a_user_is_asked_for_as_the_sites_own_page_asks(gateway, upstream, alice):
    upstream.queue_scripts(send_snapshots("Hi", "Hi."))
    assert (
        await request_k2think(
            gateway, alice, temperature=0.5, max_completion_tokens=7, top_p=0.9, seed=1
        )
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
    assert body["model"] == MODEL
    assert body["messages"] == [{"role": "user", "content": "Hello!"}]
    assert body["params"] == {"temperature": 0.5, "max_tokens": 7, "top_p": 0.9}
    assert body["tool_servers"] == []
    assert body["features"] == {
        "image_generation": False,
        "code_interpreter": False,
        "web_search": False,
    }
    assert body["model_item"]["root"] == "ifm-k2-think-v2"
    assert (body["model_item"]["id"], body["model_item"]["owned_by"]) == (MODEL, "MBZUAI")
    assert body["variables"].keys() >= {
        "{{USER_NAME}}",
        "{{CURRENT_DATETIME}}",
        "{{CURRENT_TIMEZONE}}",
    }
    assert len({UUID(body[name]) for name in ("chat_id", "id", "session_id")}) == 3
    assert "seed" not in body


async def test_every_request_is_a_chat_of_its_own(gateway, upstream, alice):
    upstream.set_default_script(send_snapshots("Hi."))
    for _ in range(2):
        await request_k2think(gateway, alice)
    first, second = (request.json for request in upstream.requests)
    assert not {first[name] for name in ("chat_id", "id", "session_id")} & {
        second["chat_id"],
        second["id"],
    }


async def test_a_guest_shows_no_token_and_has_no_system_message(guest_gateway, upstream, alice):
    upstream.queue_scripts(send_snapshots("Hi."))
    told = [
        ("system", "Be brief."),
        ("user", "Hello!"),
        ("assistant", "Hi."),
        ("developer", "In verse."),
        ("user", "?"),
    ]
    assert (
        await request_k2think(
            guest_gateway, alice, messages=[{"role": role, "content": said} for role, said in told]
        )
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


async def test_a_guests_system_message_alone_becomes_a_question(guest_gateway, upstream, alice):
    upstream.queue_scripts(send_snapshots("Hi."))
    await request_k2think(guest_gateway, alice, messages=[{"role": "system", "content": "Say hi."}])
    assert upstream.requests[0].json["messages"] == [{"role": "user", "content": "Say hi."}]


async def test_a_guests_system_message_stands_before_an_image(guest_gateway, upstream, alice):
    upstream.queue_scripts(send_snapshots("Hi."))
    await request_k2think(
        guest_gateway,
        alice,
        messages=[{"role": "system", "content": "Rules."}, {"role": "user", "content": [IMAGE]}],
    )
    [said] = upstream.requests[0].json["messages"]
    assert said == {"role": "user", "content": [{"type": "text", "text": "Rules."}, IMAGE]}


async def test_calls_and_results_of_tools_reach_the_site_in_words(gateway, upstream, alice):
    upstream.queue_scripts(send_snapshots("It rains."))
    told = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "How is the weather?"},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": "rain, 4 degrees"},
    ]
    await request_k2think(gateway, alice, messages=told)
    system, _, call, result = upstream.requests[0].json["messages"]
    assert system["role"] == "system"
    assert system["content"].startswith("Be brief.")
    assert (call["role"], result["role"]) == ("assistant", "user")
    assert "weather" in call["content"]
    assert "Oslo" in call["content"]
    assert "weather" in result["content"]
    assert "rain, 4 degrees" in result["content"]


async def test_texts_are_joined_and_images_stay_parts(gateway, upstream, alice):
    upstream.queue_scripts(send_snapshots("A cat."))
    text = [{"type": "text", "text": one} for one in ("What", "is it?")]
    told = [{"role": "user", "content": text}, {"role": "user", "content": [*text, IMAGE]}]
    await request_k2think(gateway, alice, messages=told)
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
    upstream.set_default_script(send_snapshots(f"<think>{thought}</think><answer>{said}</answer>"))
    whole = await request_k2think(gateway, alice, tools=[tool])
    streamed = await request_k2think(gateway, alice, tools=[tool], stream=True)
    assert whole.json["choices"][0]["finish_reason"] == "tool_calls"
    assert [call["function"]["name"] for call in read_message(whole)["tool_calls"]] == ["weather"]
    assert (
        streamed.finish_reasons,
        read_message(whole)["reasoning_content"],
        join_reasoning(streamed),
    ) == (
        ["tool_calls"],
        thought,
        thought,
    )
    asked = upstream.requests[0].json
    assert "weather" in str(asked["messages"])
    assert "tools" not in asked


async def test_the_web_is_searched_where_the_model_or_its_alias_says_so(gateway, upstream, alice):
    upstream.queue_scripts(send_snapshots("News."))
    await run_in_thread(
        lambda: ModelAlias.objects.create(alias="k2-search", public_id=MODEL, search="on")
    )
    await gateway.reload_rows()
    await request_k2think(gateway, alice, model="k2-search")
    assert upstream.requests[0].json["features"]["web_search"] is True


# --- beside the path ------------------------------------------------------------------------------
async def test_more_than_one_choice_is_refused_and_not_forgotten(gateway, upstream, alice):
    answer = await request_k2think(gateway, alice, n=3)
    assert (answer.status, answer.error["param"]) == (400, "n")
    assert upstream.requests == []
