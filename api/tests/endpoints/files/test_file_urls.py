"""Files that a request names by URL, as OpenAI's Responses API and kimi-free-api have it."""

import base64

import pytest

from api.tests.endpoints.files.file_requests import NOTES, ask_about
from proxysite.testing.upstream import (
    keep_silent,
    send_pieces,
    send_refusal,
    send_reply,
)
from proxysite.testing.upstream_server import Upstream

PRIVATE = pytest.mark.settings(FILE_URL_ALLOW_PRIVATE=True)
UNREACHABLE = "file_url_unreachable"


@pytest.fixture
async def file_server():
    """A second server, from which files are fetched."""
    server = Upstream()
    await server.start()
    yield server
    await server.stop()


def file_at(url):
    return {"type": "file", "file_url": {"url": url}}


def send_notes():
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(NOTES)
    return send_pieces(head + NOTES)


def redirect_to(location):
    return send_reply(b"", 302, Location=location)


async def ask(gateway, alice, *parts, **fields):
    return await gateway.request_chat(alice.key, messages=ask_about(*parts), **fields)


@PRIVATE
async def test_a_file_at_a_url_is_fetched_and_read(gateway, upstream, alice, file_server):
    file_server.queue_scripts(send_notes())
    answer = await ask(gateway, alice, file_at(f"{file_server.url}/a/notes%20b.txt?x=1#top"))
    assert answer.status == 200, answer.body
    fetched = file_server.requests[0]
    assert (fetched.method, fetched.path) == ("GET", "/v1/a/notes%20b.txt?x=1")
    assert "authorization" not in fetched.headers
    text = upstream.last_exchange.request.json["messages"][0]["content"][1]["text"]
    assert text.startswith("[File: notes b.txt]\nGrüße aus Graz.")
    assert "file_url" not in upstream.last_exchange.request.body.decode()


@PRIVATE
async def test_a_file_of_a_response_may_be_at_a_url(gateway, upstream, alice, file_server):
    file_server.set_default_script(send_notes())
    part = {"type": "input_file", "file_url": f"{file_server.url}/notes.txt"}
    body = {"model": "m", "input": [{"role": "user", "content": [part]}]}
    made = await gateway.send_request("POST", "/v1/responses", alice.key, json=body)
    assert made.status == 200, made.body
    following = {"model": "m", "input": "And?", "previous_response_id": made.json["id"]}
    made = await gateway.send_request("POST", "/v1/responses", alice.key, json=following)
    assert made.status == 200, made.body
    assert "The answer is 42." in upstream.last_exchange.request.body.decode()
    path = f"/v1/responses/{made.json['previous_response_id']}/input_items"
    listed = await gateway.send_request("GET", path, alice.key)
    assert listed.json["data"][0]["content"] == [part]


async def test_a_data_url_in_that_place_is_the_file(gateway, upstream, alice):
    data = base64.b64encode(NOTES).decode()
    answer = await ask(gateway, alice, file_at(f"data:text/plain;base64,{data}"))
    assert answer.status == 200, answer.body
    assert "The answer is 42." in upstream.last_exchange.request.body.decode()


async def test_private_addresses_are_not_fetched_and_nothing_is_told_of_them(
    gateway, upstream, alice, file_server
):
    """The same error for an open port, a closed one and a name that is not there."""
    messages = set()
    for url in (
        f"{file_server.url}/secret",
        "http://127.0.0.1:1/",
        "http://[::1]/",
        "http://localhost/",
        "http://169.254.169.254/latest/meta-data/",
        "http://nothing.invalid/",
    ):
        answer = await ask(gateway, alice, file_at(url))
        assert (answer.status, answer.error["code"]) == (400, UNREACHABLE), url
        assert answer.error["param"] == "messages[0].content[1].file_url"
        messages.add(answer.error["message"])
    assert len(messages) == 1
    assert (file_server.requests, upstream.requests) == ([], [])


@PRIVATE
async def test_redirects_are_followed_a_few_times(gateway, upstream, alice, file_server):
    file_server.queue_scripts(redirect_to("/b"), redirect_to(f"{file_server.url}/c"), send_notes())
    assert (await ask(gateway, alice, file_at(f"{file_server.url}/a"))).status == 200
    assert [request.path for request in file_server.requests] == ["/v1/a", "/b", "/v1/c"]
    file_server.set_default_script(redirect_to("/again"))
    answer = await ask(gateway, alice, file_at(f"{file_server.url}/a"))
    assert (answer.status, answer.error["code"]) == (400, UNREACHABLE)
    assert len(file_server.requests) == 7


@PRIVATE
@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://127.0.0.1/", "//a:b@c/", ""])
async def test_a_redirect_to_no_web_address_is_an_end(gateway, alice, file_server, location):
    file_server.set_default_script(redirect_to(location))
    answer = await ask(gateway, alice, file_at(f"{file_server.url}/a"))
    assert (answer.status, answer.error["code"]) == (400, UNREACHABLE)


@PRIVATE
@pytest.mark.settings(FILE_URL_SECONDS=0.3, FILE_LIMIT_BYTES=100)
@pytest.mark.parametrize(
    "script",
    [send_refusal(404), send_reply(b"x" * 101), keep_silent, send_pieces(b"nothing")],
    ids=["missing", "large", "silent", "no HTTP"],
)
async def test_what_does_not_come_as_a_file_is_refused(gateway, alice, file_server, script):
    file_server.set_default_script(script)
    answer = await ask(gateway, alice, file_at(f"{file_server.url}/a.txt"))
    assert (answer.status, answer.error["code"]) == (400, UNREACHABLE)


@PRIVATE
@pytest.mark.settings(FILE_LIMIT_BYTES=100)
async def test_the_files_of_a_request_are_limited_together(gateway, alice, file_server):
    file_server.set_default_script(send_reply(b"x" * 60))
    parts = [file_at(f"{file_server.url}/{name}.txt") for name in "ab"]
    assert (await ask(gateway, alice, parts[0])).status == 200
    answer = await ask(gateway, alice, *parts)
    assert (answer.status, answer.error["param"]) == (400, "messages[0].content[2].file_url")


@pytest.mark.parametrize(
    "url",
    [None, 7, "", "notes.txt", "file:///etc/passwd", "http://a:b@example.org/", "http://[", {}],
)
async def test_what_is_no_web_address_is_refused_by_its_place(gateway, upstream, alice, url):
    answer = await ask(gateway, alice, {"type": "file", "file_url": url})
    assert answer.status == 400
    assert answer.error["param"].startswith("messages[0].content[1].file")
    assert upstream.requests == []


@pytest.mark.settings(PROXY_URL="http://127.0.0.1:1")
async def test_through_a_proxy_nothing_is_fetched(gateway, alice):
    """It looks names up itself, so that a name could lead into its network."""
    answer = await ask(gateway, alice, file_at("http://files.example/a.txt"))
    assert (answer.status, answer.error["code"]) == (400, "unsupported_parameter")


@pytest.mark.settings(FILE_URL_SECONDS=0, FILE_URL_ALLOW_PRIVATE=True)
async def test_where_nothing_is_fetched_the_error_says_what_to_send(gateway, alice, file_server):
    answer = await ask(gateway, alice, file_at(f"{file_server.url}/a.txt"))
    assert (answer.status, answer.error["code"]) == (400, "unsupported_parameter")
    assert "file_id" in answer.error["message"]
    assert file_server.requests == []
