"""Addresses, methods and content types that are not known here."""

import json
from itertools import product

import pytest

from proxysite.testing.gateway import HELLO

CHAT = "/v1/chat/completions"
UNKNOWN_PATHS = [
    "/v1",
    "/v1/",
    "/v1/nothing",
    "/v1/chat",
    "/v1/chat/completions/",
    "/v1/models/",
    "/v1//models",
]


async def test_an_unknown_address_under_v1_is_a_404(gateway, alice, subtests):
    for method, path, key in product(
        ("GET", "POST", "DELETE", "OPTIONS"), UNKNOWN_PATHS, (None, alice.key)
    ):
        with subtests.test(method=method, path=path, is_known=key is not None):
            answer = await gateway.send_request(method, path, key)
            assert answer.status == 404
            assert answer.error["type"] == "invalid_request_error"
            assert answer.error["code"] == "unknown_url"


async def test_an_unknown_address_elsewhere_is_a_404_of_the_same_form(gateway):
    answer = await gateway.send_request("GET", "/nothing/here")
    assert answer.status == 404
    assert answer.error["code"] == "unknown_url"


async def test_a_relaying_door_takes_post_only(gateway, alice, subtests):
    paths = (f"{CHAT}/cot", "/v1/completions", "/v1/embeddings", "/v1/responses")
    for method, path, key in product(("GET", "PUT", "PATCH", "DELETE"), paths, (None, alice.key)):
        with subtests.test(method=method, path=path, is_known=key is not None):
            answer = await gateway.send_request(method, path, key)
            assert answer.status == 405
            assert answer.headers["allow"] == "POST"
            assert answer.error["type"] == "invalid_request_error"


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/m"])
async def test_the_list_of_models_is_only_read(gateway, alice, path):
    answer = await gateway.send_request("POST", path, alice.key, json={})
    assert answer.status == 405
    assert "GET" in answer.headers["allow"]
    assert "POST" not in answer.headers["allow"]
    assert answer.error["type"] == "invalid_request_error"


async def test_head_and_options_have_no_surprises(gateway, alice):
    assert (
        await gateway.send_request("HEAD", CHAT, alice.key)
    ).status == 200  # the list of stored completions
    assert (await gateway.send_request("HEAD", "/v1/completions", alice.key)).status == 405
    options = await gateway.send_request("OPTIONS", "/v1/completions")
    assert options.status == 405
    assert options.headers["allow"] == "POST"
    assert (await gateway.send_request("HEAD", "/v1/models", alice.key)).status == 200


async def test_a_body_of_another_type_is_a_415(gateway, upstream, alice, subtests):
    kinds = ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "text/json")
    for kind, path in product(kinds, (CHAT, "/v1/completions", "/v1/embeddings")):
        with subtests.test(kind=kind, path=path):
            answer = await gateway.send_request(
                "POST", path, alice.key, content=b"{}", headers={"content-type": kind}
            )
            assert answer.status == 415
            assert answer.error["type"] == "invalid_request_error"
            assert upstream.requests == []


@pytest.mark.parametrize(
    "kind", ["application/json; charset=utf-8", "APPLICATION/JSON", "application/json;x=y"]
)
async def test_json_may_be_called_by_all_its_names(gateway, upstream, alice, kind):
    body = json.dumps({"model": "m", "messages": HELLO}).encode()
    answer = await gateway.send_request(
        "POST", CHAT, alice.key, content=body, headers={"content-type": kind}
    )
    assert answer.status == 200
