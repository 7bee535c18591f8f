"""A row or an alias with web search off: no request can switch it on, and none is told it did."""

import pytest

from providers.database.database_threads import run_in_thread
from proxysite.testing import rows
from proxysite.testing.upstream import answer_honestly

SEARCH = {"type": "web_search"}
FUNCTION = {"type": "function", "name": "f", "parameters": {"type": "object"}}


@pytest.fixture
async def provider(upstream, transactional_db):
    """A model with search off, one without a word about it, and aliases that say otherwise."""

    def make():
        row = rows.create_provider(upstream.url, models=("plain",))
        rows.create_model(row, "quiet", search="off")
        for name, public_id, search in (
            ("quiet-search", "quiet", "on"),
            ("plain-nosearch", "plain", "off"),
        ):
            alias = rows.create_alias(name, public_id)
            alias.search = search
            alias.save()
        return row

    upstream.set_default_script(answer_honestly())
    return await run_in_thread(make)


@pytest.mark.parametrize("model", ["quiet", "plain-nosearch"])
async def test_the_field_of_a_chat_does_not_go_up_and_the_answer_names_it(
    gateway, upstream, alice, model
):
    answer = await gateway.request_chat(alice.key, model=model, web_search_options={})
    assert answer.status == 200
    assert "web_search_options" not in upstream.last_exchange.request.json
    assert answer.headers["x-proxysite-omitted"] == "web_search_options"


@pytest.mark.parametrize("model", ["plain", "quiet-search"])
async def test_where_search_is_not_switched_off_it_goes_up(gateway, upstream, alice, model):
    answer = await gateway.request_chat(alice.key, model=model, web_search_options={})
    assert answer.status == 200
    assert upstream.last_exchange.request.json["web_search_options"] == {}
    assert "x-proxysite-omitted" not in answer.headers


@pytest.mark.parametrize("model", ["quiet", "plain-nosearch"])
@pytest.mark.parametrize(
    ("tools", "choice"),
    [([FUNCTION, SEARCH], SEARCH), ([SEARCH], "required")],
    ids=["chosen", "only"],
)
async def test_a_response_that_asks_for_it_by_name_is_refused(
    gateway, upstream, alice, model, tools, choice
):
    body = {"model": model, "input": "hi", "tools": tools, "tool_choice": choice}
    answer = await gateway.send_request("POST", "/v1/responses", alice.key, json=body)
    assert (answer.status, answer.error["param"]) == (400, "tool_choice")
    assert answer.error["code"] == "unsupported_parameter"
    assert "switched off" in answer.error["message"]
    assert upstream.requests == []


async def test_a_response_may_choose_it_where_an_alias_switches_it_on(gateway, upstream, alice):
    body = {"model": "quiet-search", "input": "hi", "tools": [SEARCH], "tool_choice": SEARCH}
    answer = await gateway.send_request("POST", "/v1/responses", alice.key, json=body)
    assert answer.status == 200
    assert upstream.last_exchange.request.json["web_search_options"] == {}
