"""What of Moonshot's dialect is not OpenAI's: usage in the choice, the web search, and the errors
of Kimi Code.
"""

import dataclasses

import pytest

from providers.exceptions import (
    AuthRejected,
    ProviderError,
    QuotaExhausted,
    RateLimited,
    Rejected,
    ServerFailed,
)
from providers.filters import builtin_search, file_parts
from providers.filters.reported_usage import conform_moonshot_usage
from providers.network.clients import Clients
from providers.network.target import Timeouts
from providers.protocol.request import CHAT, ChatRequest, Credential, UpstreamModel
from providers.registry import get_adapter_class
from providers.upstream.base_adapter import Limits, Upstream
from proxysite.testing import speech
from proxysite.testing.upstream import send_pieces, send_refusal, send_reply

UPSTREAM = Upstream(
    id=1,
    name="fake",
    kind="moonshot",
    base_url="http://127.0.0.1:9/v1",
    headers=(),
    mode="user",
    rotation="round_robin",
    needs_token=True,
    native_tools=True,
    reports_usage=True,
    allow_private=True,
    timeouts=Timeouts(1, 1, 1, 1, 1),
    limits=Limits(1000, 1000),
)
COUNTS = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}


def payload(kind="moonshot", *, name="up", options=None, search="", **body):
    request = ChatRequest(
        "0" * 32, CHAT, "m", {"model": "m", "messages": [{"role": "user", "content": "Hi"}]} | body
    )
    return get_adapter_class(kind)(UPSTREAM, None).build_payload(
        request, UpstreamModel(name, search=search, options=options or {})
    )


# --- usage ----------------------------------------------------------------------------------------
def test_usage_in_the_choice_comes_to_the_top():
    chunk = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "usage": dict(COUNTS)}]}
    assert conform_moonshot_usage(chunk) == {
        "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}],
        "usage": COUNTS,
    }


def test_usage_at_the_top_wins():
    chunk = {"choices": [{"index": 0, "usage": {"prompt_tokens": 1}}], "usage": dict(COUNTS)}
    assert conform_moonshot_usage(chunk) == {"choices": [{"index": 0}], "usage": COUNTS}


def test_cached_tokens_stand_where_openai_has_them():
    assert conform_moonshot_usage({"choices": [], "usage": COUNTS | {"cached_tokens": 4}})["usage"][
        "prompt_tokens_details"
    ] == {"cached_tokens": 4}
    own = COUNTS | {"cached_tokens": 4, "prompt_tokens_details": {"cached_tokens": 5}}
    assert conform_moonshot_usage({"choices": [], "usage": dict(own)})["usage"] == own


@pytest.mark.parametrize(
    "chunk", [{}, {"choices": None}, {"choices": [None, 1]}, {"choices": [{"usage": "x"}]}]
)
def test_what_has_no_usage_stays_without(chunk):
    assert "usage" not in conform_moonshot_usage(chunk)


# --- what goes down -------------------------------------------------------------------------------
def test_the_search_is_offered_beside_the_callers_tools_and_thinking_is_off():
    own = {"type": "function", "function": {"name": "weather"}}
    sent = payload(search="on", tools=[own], thinking={"type": "enabled"}, web_search_options={})
    assert sent["tools"] == [own, {"type": "builtin_function", "function": {"name": "$web_search"}}]
    assert sent["thinking"] == {"type": "disabled"}
    assert "web_search_options" not in sent


@pytest.mark.parametrize("search", ["", "off"])
def test_without_search_nothing_is_added(search):
    sent = payload(search=search, thinking={"type": "enabled"}, max_completion_tokens=5)
    assert sent == {
        "model": "up",
        "messages": [{"role": "user", "content": "Hi"}],
        "thinking": {"type": "enabled"},
        "max_completion_tokens": 5,
    }


def test_a_caller_who_offers_the_search_himself_keeps_it():
    assert payload(search="on", tools=[builtin_search.SEARCH_TOOL])["tools"] == [
        builtin_search.SEARCH_TOOL
    ]
    assert "thinking" not in payload(search="on", tools=[builtin_search.SEARCH_TOOL])


def test_kimi_code_gets_no_temperature_and_thinks_as_its_row_says():
    sent = payload("kimi_code", options={"thinking": True}, temperature=0.5)
    assert "temperature" not in sent
    assert sent["thinking"] is True
    assert "thinking" not in payload("kimi_code")
    assert payload("kimi_code", options={"thinking": True}, thinking=False)["thinking"] is False


@pytest.mark.parametrize(
    ("options", "body"),
    [
        ({}, {"thinking": {"type": "disabled"}, "temperature": 0.5}),
        ({}, {"thinking": {"type": "disabled"}}),
        ({"thinking": {"type": "disabled"}}, {"temperature": 1.0}),
        ({"thinking": True}, {"thinking": False}),
    ],
    ids=["asked", "no temperature", "row", "false"],
)
def test_kimi_code_without_thinking_gets_its_only_temperature(options, body):
    assert payload("kimi_code", options=options, **body)["temperature"] == 0.6


@pytest.mark.parametrize("name", ["kimi-k2.5", "kimi-k2.6", "kimi-k3", "kimi-latest"])
def test_a_search_that_ends_thinking_also_sets_the_temperature_of_that(name):
    assert payload(name=name, search="on", temperature=1.0)["temperature"] == 0.6
    assert "temperature" not in payload(name=name, search="on")
    assert payload(name=name, temperature=1.0)["temperature"] == 1.0


def test_a_search_leaves_the_temperature_of_models_without_thinking():
    sent = payload(name="kimi-k2-0905-preview", search="on", temperature=0.2)
    assert sent["temperature"] == 0.2


# --- checks ---------------------------------------------------------------------------------------
def balance(left):
    data = {"available_balance": left, "voucher_balance": 0, "cash_balance": left}
    return send_reply({"code": 0, "scode": "0x0", "status": True, "data": data})


async def checked(upstream):
    own = dataclasses.replace(UPSTREAM, base_url=upstream.url)
    async with Clients() as clients:
        await get_adapter_class("moonshot")(own, clients).probe_credential(Credential(None, "sk-1"))


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        (balance(0), QuotaExhausted),
        (balance(-1), QuotaExhausted),
        (send_refusal(401, kind="invalid_authentication_error"), AuthRejected),
        (send_refusal(403, kind="permission_denied_error"), QuotaExhausted),
        (send_refusal(429, kind="rate_limit_reached_error"), RateLimited),
        (send_refusal(500), ServerFailed),
        (send_pieces(b"nonsense\r\n\r\n"), ProviderError),
    ],
)
async def test_a_key_is_checked_by_its_balance(upstream, script, problem):
    upstream.queue_scripts(script)
    with pytest.raises(problem):
        await checked(upstream)
    assert [request.path for request in upstream.requests] == ["/v1/users/me/balance"]


@pytest.mark.parametrize("script", [balance(49.5), balance(None), send_reply({}), send_reply([])])
async def test_a_key_with_a_balance_works(upstream, script):
    upstream.queue_scripts(script)
    await checked(upstream)
    assert upstream.requests[0].bearer_token == "sk-1"


async def test_where_there_is_no_balance_the_models_are_asked_for(upstream):
    upstream.queue_scripts(send_refusal(404), send_refusal(401))
    with pytest.raises(AuthRejected):
        await checked(upstream)
    upstream.queue_scripts(send_refusal(404), send_reply(speech.model_list("kimi")))
    await checked(upstream)
    assert upstream.last_exchange.request.path == "/v1/models"


# --- files ----------------------------------------------------------------------------------------
FILE = {
    "type": "file",
    "file": {"filename": "a.txt", "file_data": "data:text/plain;base64,YQ=="},
    "text": "a",
}


def body(*parts):
    return {
        "messages": [{"role": "system", "content": "x"}, {"role": "user", "content": list(parts)}]
    }


def test_a_body_without_files_is_the_very_same():
    given = body({"type": "text", "text": "hi"})
    assert file_parts.rewrite_file_parts(given, UpstreamModel("m")) is given


def test_a_file_is_text_or_a_file_as_the_model_takes_it():
    given = body(FILE, {"type": "text", "text": "hi"})
    as_text = file_parts.rewrite_file_parts(given, UpstreamModel("m"))["messages"][1]["content"]
    assert [part["type"] for part in as_text] == ["text", "text"]
    assert "a.txt" in as_text[0]["text"]
    as_file = file_parts.rewrite_file_parts(given, UpstreamModel("m", files=True))["messages"][1][
        "content"
    ]
    assert as_file[0] == {"type": "file", "file": FILE["file"]}
    assert given["messages"][1]["content"][0] is FILE
    assert FILE["text"] == "a"


def test_a_file_without_text_is_refused_by_a_model_that_takes_none():
    with pytest.raises(Rejected):
        file_parts.rewrite_file_parts(body({"type": "file", "file": {}}), UpstreamModel("m"))
