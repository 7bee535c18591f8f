"""Forms that would ask an upstream for more, or for something else, than the gateway checked."""

import pytest

from api.tests.endpoints.relayed.relayed_requests import RECORDING, send_form
from proxysite.testing.upstream import send_reply

EDITS = "/v1/images/edits"
PICTURE = {"image": ("a.png", b"x", "image/png")}


@pytest.mark.parametrize(
    "count", ["00000000112", "000000001" + "1" * 5_000, "1" * 5_000, "0000000000", "11"]
)
async def test_a_number_of_images_cannot_be_hidden_behind_zeros(gateway, upstream, alice, count):
    answer = await send_form(gateway, alice, EDITS, PICTURE, prompt="x", n=count)
    assert (answer.status, answer.error["param"]) == (400, "n")
    assert upstream.requests == []


@pytest.mark.parametrize("name", ["model", "n", "prompt", "stream", "api_base"])
async def test_a_file_cannot_stand_for_a_field(gateway, upstream, alice, name):
    files = [("image", PICTURE["image"]), (name, ("a.txt", b"other-model", "text/plain"))]
    answer = await send_form(gateway, alice, EDITS, files, prompt="x")
    assert (answer.status, answer.error["param"]) == (400, name)
    assert upstream.requests == []


async def test_the_texts_of_a_form_have_a_largest_size(gateway, upstream, alice):
    upstream.queue_scripts(send_reply({"text": ""}))
    files = {"file": ("a.wav", RECORDING, "audio/wav")}
    answer = await send_form(gateway, alice, files=files, prompt="x" * 1_000_000)
    assert answer.status == 200
    answer = await send_form(gateway, alice, files=files, prompt="x" * 1_200_000)
    assert (answer.status, answer.error["code"]) == (413, "body_too_large")
    assert len(upstream.requests) == 1


async def test_images_are_not_edited_by_ids_of_the_upstreams_files(gateway, upstream, alice):
    body = {"model": "m", "prompt": "x", "images": [{"image_url": "https://a.example/a.png"}]}
    for changes in ({"images": [{"file_id": "file-1"}]}, {"mask": {"file_id": "file-1"}}):
        answer = await gateway.send_request("POST", EDITS, alice.key, json=body | changes)
        assert answer.status == 400
        assert answer.error["code"] == "unsupported_parameter"
        assert answer.error["param"].endswith("file_id")
    assert upstream.requests == []
