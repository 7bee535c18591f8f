"""A wrong address is answered with the right one: most come from a wrong base URL of a client."""

import pytest

CHAT = "/v1/chat/completions"
WRONG_ADDRESSES = {
    "/chat/completions": CHAT,
    "/v1/v1/chat/completions": CHAT,
    "/v1/chat/completions/": CHAT,
    "/v1//chat/completions": CHAT,
    "/v1/chat/completions/chat/completions": CHAT,
    "/api/v1/chat/completions": CHAT,
    "/openai/deployments/m/chat/completions": CHAT,
    "/models": "/v1/models",
    "/v1/models/": "/v1/models",
    "/models/m": "/v1/models/m",
    "/responses": "/v1/responses",
    "/openai/v1/embeddings": "/v1/embeddings",
    "/v1/v1/responses/resp_1/cancel": "/v1/responses/resp_1/cancel",
}


@pytest.mark.parametrize(("path", "right"), WRONG_ADDRESSES.items())
@pytest.mark.parametrize("known", [True, False], ids=["with a key", "without"])
async def test_the_right_address_is_named(gateway, alice, path, right, known):
    answer = await gateway.send_request("POST", path, alice.key if known else None, json={})
    assert (answer.status, answer.error["code"]) == (404, "unknown_url")
    assert f"Did you mean {right}? The base URL of this API ends in /v1" in answer.error["message"]


@pytest.mark.parametrize("path", ["/v1/nothing", "/nothing", "/v1", "/v1/" + "x/" * 500])
async def test_without_a_right_address_only_the_base_url_is_named(gateway, path):
    answer = await gateway.send_request("GET", path)
    assert (answer.status, answer.error["code"]) == (404, "unknown_url")
    assert "Did you mean" not in answer.error["message"]
    assert "ends in /v1" in answer.error["message"]
    assert len(answer.error["message"]) < 400


@pytest.mark.parametrize(
    "path",
    ["/v1/videos", "/v1/threads", "/v1/vector_stores"],
)
async def test_an_endpoint_of_others_is_said_to_be_none_here(gateway, alice, path):
    answer = await gateway.send_request("POST", path, alice.key, json={})
    assert (answer.status, answer.error["code"]) == (404, "unknown_url")
    assert f"This gateway has no endpoint /v1/{path.split('/')[2]}." in answer.error["message"]


async def test_a_plain_request_for_realtime_learns_that_it_is_a_websocket(gateway, alice):
    answer = await gateway.send_request("GET", "/v1/realtime?model=m", alice.key)
    assert (answer.status, answer.error["code"]) == (404, "unknown_url")
    assert "It is a WebSocket" in answer.error["message"]


async def test_a_method_that_an_endpoint_lacks_is_refused_with_those_that_it_has(gateway, alice):
    for method, path, allowed in (
        ("PUT", "/v1/models", "GET, HEAD, OPTIONS"),
        ("GET", "/v1/embeddings", "POST"),
    ):
        answer = await gateway.send_request(method, path, alice.key)
        assert (answer.status, answer.headers["allow"]) == (405, allowed)
        assert answer.error["message"] == f"{method} is not allowed here, but {allowed}."


@pytest.mark.parametrize("headers", [{}, {"api-key": "bogus"}, "alice"], ids=str)
async def test_a_large_body_at_a_wrong_address_is_a_404_and_not_413(gateway, alice, headers):
    if headers == "alice":
        headers = {"api-key": alice.key}
    for path in ("/openai/deployments/m/chat/completions", "/v1/nothing"):
        for size in (40_000, 3 * 2**20):
            answer = await gateway.send_request("POST", path, content=b" " * size, headers=headers)
            assert (answer.status, answer.error["code"]) == (404, "unknown_url")


async def test_a_large_body_without_a_key_is_a_401_and_not_413(gateway):
    answer = await gateway.send_request("POST", "/v1/conversations", content=b" " * 40_000)
    assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")
