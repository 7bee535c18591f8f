"""A web search that a response offers: it is no wish to search by itself (F2, F3)."""

import pytest

from providers.database.database_threads import run_in_thread
from proxysite.testing import rows

FUNCTION = {"type": "function", "name": "f", "parameters": {"type": "object"}}
SEARCH = {"type": "web_search", "external_web_access": True, "search_context_size": "low"}
CHOSEN = {"type": "web_search"}


@pytest.fixture
async def provider(upstream, transactional_db):
    """An upstream of Moonshot's with one model, and an OpenAI-compatible one with two."""

    def make():
        row = rows.create_provider(upstream.url, models=(), kind="moonshot")
        rows.create_model(row, "kimi")
        other = rows.create_provider(upstream.url, "other", models=("plain",))
        rows.create_tokens(other, "sk-other")
        rows.create_model(other, "searching", search="on")
        alias = rows.create_alias("plain-search", "plain")
        alias.search = "on"
        alias.save()
        return row

    return await run_in_thread(make)


async def ask(gateway, upstream, person, model, **fields):
    body = {"model": model, "input": "hi", "tools": [FUNCTION, SEARCH], "store": False} | fields
    answer = await gateway.send_request("POST", "/v1/responses", person.key, json=body)
    assert answer.status == 200, answer.body
    return upstream.last_exchange.request.json


async def test_an_offered_search_leaves_kimi_its_thinking(gateway, upstream, alice):
    """F3: a search switches thinking off, so each request of Codex did."""
    sent = await ask(gateway, upstream, alice, "kimi")
    assert "thinking" not in sent
    assert [tool["function"]["name"] for tool in sent["tools"]] == ["f"]
    sent = await ask(gateway, upstream, alice, "kimi", tool_choice=CHOSEN)
    assert sent["thinking"] == {"type": "disabled"}
    assert [tool["function"]["name"] for tool in sent["tools"]] == ["f", "$web_search"]


async def test_an_offered_search_is_not_sent_to_a_model_that_does_not_search(
    gateway, upstream, alice
):
    """F2: OpenAI's own models refuse `web_search_options`."""
    for choice in (None, "auto", "required", {"type": "function", "name": "f"}):
        sent = await ask(gateway, upstream, alice, "plain", tool_choice=choice)
        assert "web_search_options" not in sent


@pytest.mark.parametrize("model", ["searching", "plain-search"], ids=["row", "alias"])
async def test_an_offered_search_is_sent_where_the_row_or_the_alias_searches(
    gateway, upstream, alice, model
):
    sent = await ask(gateway, upstream, alice, model)
    assert sent["web_search_options"] == {"search_context_size": "low"}
    for fields in (
        {"tool_choice": "none"},
        {"tools": [FUNCTION]},
        {"tools": [FUNCTION, SEARCH | {"external_web_access": False}]},
        {"tools": [FUNCTION, SEARCH | {"filters": {"allowed_domains": ["a.example"]}}]},
    ):
        assert "web_search_options" not in await ask(gateway, upstream, alice, model, **fields)


@pytest.mark.parametrize(
    ("tools", "choice"),
    [
        ([FUNCTION, SEARCH], CHOSEN),
        ([SEARCH], "required"),
        (
            [FUNCTION, SEARCH],
            {"type": "allowed_tools", "mode": "required", "tools": [{"type": "web_search"}]},
        ),
    ],
    ids=["named", "only tool", "only allowed tool"],
)
async def test_a_search_that_is_asked_for_is_sent(gateway, upstream, alice, tools, choice):
    sent = await ask(gateway, upstream, alice, "plain", tools=tools, tool_choice=choice)
    assert sent["web_search_options"] == {"search_context_size": "low"}
