"""Bodies that come compressed: read within the same limits as plain ones, or refused by name."""

import gzip
import json
import zlib

import pytest

from proxysite.testing.gateway import HELLO

CHAT = "/v1/chat/completions"
BODY = json.dumps({"model": "m", "messages": HELLO}).encode()


def deflate_bare(data):
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


BOMB = gzip.compress(bytes(2**26), 1)  # made ahead: it would stop the event loop of a test
PACKERS = {
    "gzip": ("gzip", gzip.compress),
    "x-gzip": ("x-gzip", gzip.compress),
    "GZip": ("GZip", gzip.compress),
    "deflate": ("deflate", zlib.compress),
    "bare deflate": ("deflate", deflate_bare),
    "identity": ("identity", bytes),
}


@pytest.mark.parametrize("name", PACKERS)
@pytest.mark.parametrize("filling", [0, 300_000, 900_000])
async def test_a_compressed_body_is_read(gateway, upstream, alice, name, filling):
    coding, pack = PACKERS[name]
    text = "".join(f"{number:x} " for number in range(filling // 6))
    content = pack(json.dumps({"model": "m", "messages": HELLO, "x": text}).encode())
    answer = await gateway.send_request(
        "POST", CHAT, alice.key, content=content, headers=json_headers(coding)
    )
    assert (answer.status, answer.text) == (200, "Hello there!")
    assert upstream.last_exchange.request.json["x"] == text
    assert "content-encoding" not in upstream.last_exchange.request.headers


async def test_other_endpoints_read_compressed_bodies_too(gateway, alice):
    items = [{"type": "message", "role": "user", "content": "x" * 100_000}]
    answer = await gateway.send_request(
        "POST",
        "/v1/conversations",
        alice.key,
        content=gzip.compress(json.dumps({"items": items}).encode()),
        headers=json_headers("gzip"),
    )
    assert answer.status == 200, answer.body


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "compress", "x" * 5_000])
@pytest.mark.parametrize("path", [CHAT, "/v1/conversations"])
async def test_an_unknown_coding_is_a_415_that_names_the_header(gateway, alice, path, coding):
    answer = await gateway.send_request(
        "POST", path, alice.key, content=BODY, headers=json_headers(coding)
    )
    assert (answer.status, answer.error["code"]) == (415, "unsupported_media_type")
    assert answer.error["param"] == "content-encoding"
    assert "send gzip, deflate or none" in answer.error["message"]
    assert answer.headers["accept-encoding"] == "gzip, deflate"


BROKEN = {
    "no gzip": BODY,
    "cut": gzip.compress(BODY)[:-9],
    "damaged": gzip.compress(BODY)[:-8] + bytes(8),
    "data behind the end": gzip.compress(BODY) + b"x",
    "one byte": b"\x1f",
}


@pytest.mark.parametrize("fault", BROKEN)
@pytest.mark.parametrize("path", [CHAT, "/v1/conversations"])
async def test_a_broken_compressed_body_is_a_400_that_says_so(gateway, alice, path, fault):
    answer = await gateway.send_request(
        "POST", path, alice.key, content=BROKEN[fault], headers=json_headers("gzip")
    )
    assert (answer.status, answer.error["param"]) == (400, "content-encoding")
    assert answer.error["message"] == "The body is not valid gzip, as its content-encoding says."


@pytest.mark.parametrize("path", [CHAT, "/v1/conversations"])
async def test_a_body_that_unpacks_to_far_more_is_refused_at_the_limit(gateway, alice, path):
    assert len(BOMB) < 2**19  # less than the limit of a body, and 64 times that when unpacked
    answer = await gateway.send_request(
        "POST", path, alice.key, content=BOMB, headers=json_headers("gzip")
    )
    assert (answer.status, answer.error["code"]) == (413, "body_too_large")
    assert gateway.held_resources() == (0, 0, 0, 0)


async def test_a_strangers_body_has_the_small_limit_after_it_is_unpacked(gateway):
    answer = await gateway.send_request(
        "POST",
        "/v1/conversations",
        content=gzip.compress(b" " * 100_000),
        headers=json_headers("gzip"),
    )
    assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")


def json_headers(coding):
    return {"content-type": "application/json", "content-encoding": coding}
