"""A WebSocket is opened by a page of this site, under a host name that is allowed."""

import pytest

from proxysite.desk.live.viewer_access import is_same_origin


def make_scope(origin, host="testserver", **headers):
    fields = {"host": host, "origin": origin} | headers
    return {
        "type": "websocket",
        "path": "/ws/live/",
        "query_string": b"",
        "scheme": "ws",
        "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 9),
        "headers": [(name.encode(), value.encode()) for name, value in fields.items() if value],
    }


@pytest.mark.parametrize(
    ("origin", "host", "is_same"),
    [
        ("http://testserver", "testserver", True),
        ("http://testserver:8000", "testserver:8000", True),
        ("http://testserver:8000", "testserver", False),
        ("https://testserver", "testserver", False),
        ("http://testserver.evil.example", "testserver", False),
        ("http://evil.example", "evil.example", False),  # a foreign name that points here
        ("null", "testserver", False),
        ("", "testserver", False),
    ],
)
def test_the_origin_must_be_the_host_and_the_host_be_allowed(origin, host, is_same):
    assert is_same_origin(make_scope(origin, host)) is is_same


def test_two_origins_are_none():
    scope = make_scope("http://testserver")
    scope["headers"].append((b"origin", b"http://testserver"))
    assert not is_same_origin(scope)


def test_behind_a_proxy_that_ends_tls_the_origin_is_https(settings):
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    forwarded = {"x-forwarded-proto": "https"}
    assert is_same_origin(make_scope("https://testserver", **forwarded))
    assert not is_same_origin(make_scope("http://testserver", **forwarded))


def test_a_trusted_origin_may_differ_from_the_host(settings):
    settings.CSRF_TRUSTED_ORIGINS = ["https://gateway.example"]
    assert is_same_origin(make_scope("https://gateway.example"))
    assert not is_same_origin(make_scope("https://other.example"))
