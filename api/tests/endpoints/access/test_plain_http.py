"""Behind a proxy that ends TLS: people are led to https, programs are answered as they ask."""

import pytest

from proxysite.testing.gateway import HELLO

pytestmark = pytest.mark.settings(BEHIND_TLS=True, SECURE_SSL_REDIRECT=True)
API = [
    ("GET", "/v1/models"),
    ("GET", "/v1/conversations"),
    ("POST", "/v1/chat/completions"),
    ("GET", "/v1/nothing"),
    ("GET", "/health"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
]


async def test_programs_are_answered_over_plain_http(gateway, upstream, alice, subtests):
    for method, path in API:
        with subtests.test(method=method, path=path):
            body = {"model": "m", "messages": HELLO} if method == "POST" else None
            answer = await gateway.send_request(method, path, alice.key, json=body)
            assert answer.status == (404 if path == "/v1/nothing" else 200)
            assert not answer.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize("path", ["/admin/", "/admin/login/"])
async def test_people_are_sent_to_https(gateway, path):
    answer = await gateway.send_request("GET", path)
    assert answer.status == 301
    assert answer.headers["location"].startswith("https://")
