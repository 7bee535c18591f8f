"""/v1/web_search: what each backend is asked and how its answer looks to the caller; failures."""

from urllib.parse import parse_qs, urlsplit

import pytest

from proxysite.testing.upstream import CUT, keep_silent, send_pieces, send_reply

FOUND = {
    "title": "Graz – Wikipedia",
    "link": "https://en.wikipedia.org/wiki/Graz",
    "snippet": "Graz is a city.",
}
ANSWERS = {
    "searxng": {
        "query": "graz",
        "number_of_results": 0,
        "results": [
            {
                "title": FOUND["title"],
                "url": FOUND["link"],
                "content": FOUND["snippet"],
                "engine": "wikipedia",
            },
            {
                "title": "Second",
                "url": "https://example.org/2",
                "content": None,
                "engines": ["bing"],
                "score": 1.0,
            },
            {"title": "No address", "content": "left out"},
        ],
        "answers": [],
        "unresponsive_engines": [],
    },
    "brave": {
        "type": "search",
        "query": {"original": "graz"},
        "web": {
            "type": "search",
            "results": [
                {
                    "title": FOUND["title"],
                    "url": FOUND["link"],
                    "description": FOUND["snippet"],
                    "age": "1 day",
                },
                {"title": "Second", "url": "https://example.org/2"},
                {"title": "No address", "url": "javascript:alert(1)"},
            ],
        },
    },
    "tavily": {
        "query": "graz",
        "answer": None,
        "images": [],
        "results": [
            {
                "title": FOUND["title"],
                "url": FOUND["link"],
                "content": FOUND["snippet"],
                "score": 0.9,
            },
            {"title": "Second", "url": "https://example.org/2", "content": ""},
        ],
        "response_time": 1.2,
    },
}
NOTHING = {
    "searxng": {"query": "x", "results": [], "unresponsive_engines": []},
    "brave": {"type": "search", "query": {"original": "x"}},
    "tavily": {"query": "x", "results": [], "response_time": 0.1},
}
SECOND = {"title": "Second", "link": "https://example.org/2", "snippet": ""}


@pytest.fixture
def backend(request, settings, upstream):
    """The backend's name; the upstream plays it."""
    name = getattr(request, "param", "tavily")
    settings.SEARCH_BACKEND, settings.SEARCH_ALLOW_PRIVATE = name, True
    settings.SEARCH_URL = upstream.url
    settings.SEARCH_KEY = "" if name == "searxng" else "search-key-1"
    return name


EACH = pytest.mark.parametrize("backend", ["searxng", "brave", "tavily"], indirect=True)


async def search(gateway, key, query="graz  österreich", **body):
    return await gateway.send_request("POST", "/v1/web_search", key, json={"query": query} | body)


def asked(upstream):
    """(method, path, query's fields) of the last request."""
    request = upstream.last_exchange.request
    url = urlsplit(request.path)
    return request.method, url.path, {name: value for name, (value,) in parse_qs(url.query).items()}


@EACH
async def test_each_backends_results_come_in_one_form(backend, gateway, upstream, alice):
    upstream.queue_scripts(send_reply(ANSWERS[backend]))
    answer = await search(gateway, alice.key)
    assert answer.status == 200
    assert answer.json == {
        "status": "success",
        "query": "graz  österreich",
        "results": [FOUND, SECOND],
    }
    assert answer.headers["x-request-id"].startswith("req_")
    assert alice.key not in upstream.last_exchange.request.head.decode()


@EACH
async def test_nothing_found_is_an_empty_list(backend, gateway, upstream, alice):
    upstream.queue_scripts(send_reply(NOTHING[backend]))
    assert (await search(gateway, alice.key)).json["results"] == []


@pytest.mark.parametrize("backend", ["searxng"], indirect=True)
async def test_a_searxng_is_asked_for_json(backend, gateway, upstream, alice):
    upstream.queue_scripts(send_reply(ANSWERS["searxng"]))
    answer = await search(gateway, alice.key, count=1)
    assert asked(upstream) == ("GET", "/v1/search", {"q": "graz österreich", "format": "json"})
    assert answer.json["results"] == [FOUND]


@pytest.mark.parametrize("backend", ["brave"], indirect=True)
async def test_brave_is_asked_with_its_key_and_number(backend, gateway, upstream, alice):
    upstream.queue_scripts(send_reply(ANSWERS["brave"]))
    await search(gateway, alice.key, count=7)
    method, path, fields = asked(upstream)
    assert (method, path, fields["q"], fields["count"]) == (
        "GET",
        "/v1/web/search",
        "graz österreich",
        "7",
    )
    assert fields["text_decorations"] == "false"
    assert upstream.last_exchange.request.headers["x-subscription-token"] == "search-key-1"
    answer = await search(gateway, alice.key, "a " * 51)
    assert (answer.status, answer.error["param"]) == (400, "query")


async def test_tavily_is_asked_with_its_key_and_number(backend, gateway, upstream, alice):
    upstream.queue_scripts(send_reply(ANSWERS["tavily"]))
    await search(gateway, alice.key)
    assert asked(upstream)[:2] == ("POST", "/v1/search")
    assert upstream.last_exchange.request.json == {"query": "graz österreich", "max_results": 10}
    assert upstream.last_exchange.request.bearer_token == "search-key-1"


@pytest.mark.parametrize("backend", ["searxng"], indirect=True)
async def test_nothing_because_engines_failed_is_a_failure(backend, gateway, upstream, alice):
    upstream.queue_scripts(
        send_reply(NOTHING["searxng"] | {"unresponsive_engines": [["google", "timeout"]]})
    )
    assert (await search(gateway, alice.key)).status == 502


@pytest.mark.parametrize(
    ("script", "status", "code"),
    [
        (send_reply({"detail": "bad key"}, 401), 502, "upstream_failed"),
        (send_reply({"detail": "slow down"}, 429), 502, "upstream_failed"),
        (send_reply({"error": "down"}, 503), 502, "upstream_failed"),
        (send_reply(b"", 302, location="http://169.254.169.254/"), 502, "unexpected_redirect"),
        (send_reply(b"<html>"), 502, "bad_upstream_response"),
        (send_reply([1]), 502, "bad_upstream_response"),
        (send_reply({"results": {}}), 502, "bad_upstream_response"),
        (send_pieces(CUT), 502, "upstream_disconnected"),
    ],
    ids=["401", "429", "503", "redirect", "html", "list", "shape", "cut"],
)
async def test_a_failed_backend_is_an_error(
    backend, gateway, upstream, alice, script, status, code
):
    upstream.set_default_script(script)
    answer = await search(gateway, alice.key)
    assert (answer.status, answer.error["code"]) == (status, code)
    assert "search-key-1" not in answer.error["message"]
    assert len(upstream.requests) == 1


@pytest.mark.settings(SEARCH_SECONDS=1.0)
async def test_a_silent_backend_is_a_timeout(backend, gateway, upstream, alice):
    upstream.queue_scripts(keep_silent)
    answer = await search(gateway, alice.key)
    assert (answer.status, answer.error["code"]) == (504, "upstream_timeout")
    await upstream.last_exchange.wait_until_left()


@pytest.mark.settings(SEARCH_ANSWER_BYTES=1_000)
async def test_an_answer_beyond_the_bound_is_not_read(backend, gateway, upstream, alice):
    upstream.queue_scripts(send_reply(ANSWERS["tavily"] | {"images": ["x" * 4_000_000]}))
    assert (await search(gateway, alice.key)).error["code"] == "bad_upstream_response"


async def test_a_private_address_is_not_connected_to_unless_that_is_meant(
    backend, gateway, upstream, alice, settings
):
    settings.SEARCH_ALLOW_PRIVATE = False
    settings.SEARCH_URL = f"https://localtest.invalid:{upstream.port}"
    answer = await search(gateway, alice.key)
    assert (answer.status, answer.error["code"]) == (502, "upstream_unreachable")
    assert not upstream.requests


async def test_without_a_backend_the_door_says_so_and_invents_nothing(gateway, upstream, alice):
    answer = await search(gateway, alice.key)
    assert (answer.status, answer.error["code"]) == (501, "web_search_not_configured")
    assert not upstream.requests


async def test_what_is_no_question_is_refused(backend, gateway, upstream, alice, subtests):
    cases = [
        ({"query": ""}, "query"),
        ({"query": "  "}, "query"),
        ({"query": "x" * 401}, "query"),
        ({"query": 7}, "query"),
        ({"query": "x", "count": 0}, "count"),
        ({"query": "x", "count": 21}, "count"),
        ({"query": "x", "count": "3"}, "count"),
        ({}, "query"),
        ({"query": "x", "base_url": "http://169.254.169.254"}, "base_url"),
    ]
    for body, param in cases:
        with subtests.test(body=body, param=param):
            answer = await gateway.send_request("POST", "/v1/web_search", alice.key, json=body)
            assert (answer.status, answer.error["param"]) == (400, param)
            assert not upstream.requests


async def test_a_key_is_needed(backend, gateway, upstream):
    assert (await search(gateway, None)).status == 401
    assert (await search(gateway, "sk-ps-nobody")).status == 401
    assert (await gateway.send_request("GET", "/v1/web_search")).status == 405
    assert not upstream.requests


@pytest.mark.settings(PASSTHROUGH_PROVIDER="fake")
async def test_tokens_that_a_caller_brings_are_no_key(backend, gateway, upstream):
    assert (await search(gateway, "a-token-of-his-own")).status == 401
    assert not upstream.requests
