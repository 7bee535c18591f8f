"""Small things that callers of the K2Think and Kimi proxies and their forks send or expect."""

import pytest

from providers.database.database_threads import run_in_thread
from providers.tests.kimi_site import Site, jwt
from proxysite.testing import rows
from proxysite.testing.gateway import HELLO
from proxysite.testing.upstream import send_refusal

CHAT = "/v1/chat/completions"


async def test_the_icon_of_the_site_is_empty_and_no_error(gateway):
    answer = await gateway.send_request("GET", "/favicon.ico")
    assert (answer.status, answer.headers["content-type"]) == (200, "image/x-icon")


async def test_the_home_page_lists_features_for_programs(gateway):
    answer = await gateway.send_request("GET", "/")
    assert "tool calling" in answer.json["features"]
    assert answer.json["message"]


# --- use_search -----------------------------------------------------------------------------------
@pytest.fixture
async def kimi(upstream, transactional_db):
    def make():
        fields = {"kind": "kimi_rest", "native_tools": False, "reports_usage": False}
        row = rows.create_provider(upstream.url, "kimi", models=(), **fields)
        rows.create_model(row, "kimi-m", "k2", capabilities=["chat"])
        rows.create_tokens(row, jwt())

    await run_in_thread(make)


@pytest.mark.parametrize("wish", [True, False])
async def test_use_search_turns_the_search_of_kimi_on_and_off(kimi, gateway, upstream, alice, wish):
    upstream.set_default_script(Site("kimi_rest"))
    answer = await gateway.request_chat(alice.key, model="kimi-m", use_search=wish)
    assert answer.status == 200, answer.json
    asked = [request for request in upstream.requests if request.path.endswith("/stream")]
    assert [request.json["use_search"] for request in asked] == [wish]


# --- tokens that callers bring --------------------------------------------------------------------
@pytest.mark.settings(PASSTHROUGH_PROVIDER="fake")
async def test_a_mistyped_key_is_named_as_what_it_may_be(gateway, upstream, alice, subtests):
    upstream.set_default_script(send_refusal(401))
    body = {"model": "m", "messages": HELLO}
    for path, status in ((CHAT, 401), (f"{CHAT}/talk", 403)):
        with subtests.test(path=path):
            answer = await gateway.send_request("POST", path, "my-old-kye", json=body)
            assert answer.status == status
            assert answer.error["message"].endswith("it is not known here.")
            assert "my-old-kye" not in answer.error["message"]
