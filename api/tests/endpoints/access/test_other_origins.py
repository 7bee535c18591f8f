"""Browsers from elsewhere: preflights and readable answers."""

import pytest

ORIGIN = "https://app.example"


@pytest.mark.parametrize(
    "path", ["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/models"]
)
async def test_a_preflight_is_answered_without_a_key_and_without_the_database(
    gateway, path, django_db_blocker, caplog
):
    headers = {
        "origin": ORIGIN,
        "access-control-request-method": "POST",
        "access-control-request-headers": (
            "authorization,content-type,x-stainless-os,openai-organization"
        ),
    }
    with django_db_blocker.block():
        answer = await gateway.send_request("OPTIONS", path, headers=headers)
        stranger = await gateway.send_request(
            "OPTIONS", path, headers=headers | {"origin": "https://evil.example"}
        )
    caplog.clear()  # the watcher of changes has asked the database meanwhile, and was refused
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    allowed = answer.headers["access-control-allow-headers"].replace(" ", "").split(",")
    assert {
        "authorization",
        "content-type",
        "x-api-key",
        "x-stainless-os",
        "openai-organization",
    } <= set(allowed)
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert "access-control-allow-origin" not in stranger.headers


async def test_answers_and_errors_are_readable_for_allowed_origins_only(gateway, upstream, alice):
    for key, extra, status in (
        (alice.key, {}, 200),
        (alice.key, {"stream": True}, 200),
        ("sk-ps-unknown", {}, 401),
        (alice.key, {"model": "nothing"}, 404),
    ):
        answer = await gateway.request_chat(key, headers={"origin": ORIGIN}, **extra)
        assert answer.status == status
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert "x-request-id" in answer.headers["access-control-expose-headers"]
        assert "origin" in ",".join(answer.headers.get_list("vary")).lower()
        assert "access-control-allow-credentials" not in answer.headers
        for origin in ("https://evil.example", "null", "https://app.example.evil.example"):
            other = await gateway.request_chat(key, headers={"origin": origin}, **extra)
            assert other.status == status
            assert "access-control-allow-origin" not in other.headers


@pytest.mark.parametrize("name", ["openai-beta", "x-title", "http-referer", "x-of-tomorrow"])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/models", "/chat/completions"])
async def test_any_header_may_be_sent_with_a_key(gateway, path, name):
    headers = {
        "origin": ORIGIN,
        "access-control-request-method": "POST",
        "access-control-request-headers": f"authorization,{name}",
    }
    answer = await gateway.send_request("OPTIONS", path, headers=headers)
    assert answer.status == 200
    allowed = answer.headers["access-control-allow-headers"].split(", ")
    assert {"*", "authorization"} <= set(allowed)  # the asterisk stands for all but this one


@pytest.mark.parametrize("path", ["/chat/completions", "/v1/v1/models", "/api/chat"])
@pytest.mark.parametrize("size", [10, 40_000], ids=["small", "large"])
async def test_a_page_can_read_that_its_address_is_wrong(gateway, path, size):
    answer = await gateway.send_request(
        "POST", path, content=b" " * size, headers={"origin": ORIGIN}
    )
    assert (answer.status, answer.error["code"]) == (404, "unknown_url")
    assert answer.headers["access-control-allow-origin"] == ORIGIN


async def test_a_page_can_read_why_its_large_body_is_refused(gateway):
    answer = await gateway.send_request(
        "POST", "/v1/conversations", content=b" " * 40_000, headers={"origin": ORIGIN}
    )
    assert answer.status == 401
    assert answer.headers["access-control-allow-origin"] == ORIGIN


async def test_the_admin_is_not_for_other_origins(gateway):
    answer = await gateway.send_request("GET", "/admin/login/", headers={"origin": ORIGIN})
    assert answer.status == 200
    assert "access-control-allow-origin" not in answer.headers
