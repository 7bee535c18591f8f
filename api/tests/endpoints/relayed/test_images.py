"""/v1/images/… with OpenAI's own client: made, edited, varied, and streamed."""

import warnings

import pytest

from api.tests.endpoints.relayed.relayed_requests import open_client, read_form, send_form
from api.tests.pricing.price_rows import create_price
from providers.database.database_threads import run_in_thread
from proxysite.testing import rows
from proxysite.testing.upstream import send_refusal, send_reply, send_stream

PNG = b"\x89PNG\r\n\x1a\n" + bytes(2_000)
USAGE = {
    "input_tokens": 50,
    "input_tokens_details": {"text_tokens": 10, "image_tokens": 40},
    "output_tokens": 4_000,
    "total_tokens": 4_050,
}
BASE64_ANSWER = {"created": 1, "data": [{"b64_json": "AAAA"}], "usage": USAGE}
URL_ANSWER = {
    "created": 1,
    "data": [{"url": "https://example.org/a.png"}, {"url": "https://example.org/b.png"}],
}


@pytest.fixture
async def image_price(gateway, provider):
    """Return the price of an image that the gateway has loaded: 0.04 USD."""
    row = await run_in_thread(
        create_price,
        provider,
        "upstream-model",
        prompt_usd=None,
        completion_usd=None,
        image_usd="0.04",
    )
    await gateway.reload_rows()
    return row


async def test_images_are_made(gateway, upstream, alice, image_price):
    upstream.queue_scripts(send_reply(URL_ANSWER), send_reply(BASE64_ANSWER))
    async with open_client(gateway, alice) as client:
        answer = await client.images.generate(
            model="m", prompt="A cat", n=2, size="1024x1024", response_format="url"
        )
        assert [image.url for image in answer.data] == [
            "https://example.org/a.png",
            "https://example.org/b.png",
        ]
        answer = await client.images.generate(model="m", prompt="A cat", extra_body={"x": 1})
        assert answer.data[0].b64_json == "AAAA"
        assert answer.usage.output_tokens == 4_000
    first, second = upstream.requests
    assert first.path == "/v1/images/generations"
    assert first.json == {
        "model": "upstream-model",
        "prompt": "A cat",
        "n": 2,
        "size": "1024x1024",
        "response_format": "url",
    }
    assert second.json == {"model": "upstream-model", "prompt": "A cat", "x": 1}
    by_url, by_tokens = await rows.read_usage_records()
    assert (by_url.endpoint, by_url.estimated) == ("images/generations", True)
    assert by_url.attempts[0]["units"] == {"images": 2}
    assert by_url.cost_micro_usd == 80_000
    assert (by_tokens.prompt_tokens, by_tokens.completion_tokens) == (50, 4_000)
    assert by_tokens.cost_micro_usd == 40_000


async def test_images_are_edited(gateway, upstream, alice, three):
    upstream.queue_scripts(send_refusal(500), send_reply(BASE64_ANSWER))
    async with open_client(gateway, alice) as client:
        answer = await client.images.edit(
            model="m",
            image=[("a.png", PNG, "image/png"), ("b.png", PNG, "image/png")],
            mask=("mask.png", PNG, "image/png"),
            prompt="Mit Hut – größer",
            n=1,
        )
    assert answer.data[0].b64_json == "AAAA"
    first, second = upstream.requests
    assert second.path == "/v1/images/edits"
    assert read_form(first) == read_form(second)
    parts = read_form(second)
    files = [part for part in parts if part[1] is not None]
    assert files == [
        ("image[]", "a.png", "image/png", PNG),
        ("image[]", "b.png", "image/png", PNG),
        ("mask", "mask.png", "image/png", PNG),
    ]
    assert ("prompt", None, None, "Mit Hut – größer".encode()) in parts
    row = await rows.read_only_usage_record()
    assert (row.endpoint, row.completion_tokens) == ("images/edits", 4_000)


async def test_an_edit_may_be_json(gateway, upstream, alice):
    upstream.queue_scripts(send_reply(BASE64_ANSWER))
    body = {"model": "m", "prompt": "A hat", "images": [{"image_url": "https://example.org/a.png"}]}
    answer = await gateway.send_request("POST", "/v1/images/edits", alice.key, json=body)
    assert answer.json == BASE64_ANSWER
    assert upstream.requests[0].json == body | {"model": "upstream-model"}


async def test_variations_are_made(gateway, upstream, alice):
    upstream.queue_scripts(send_reply(URL_ANSWER))
    async with open_client(gateway, alice) as client:
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            answer = await client.images.create_variation(
                model="m", image=("a.png", PNG, "image/png"), n=2
            )
    assert len(answer.data) == 2
    assert upstream.requests[0].path == "/v1/images/variations"
    assert (await rows.read_only_usage_record()).attempts[0]["units"] == {"images": 2}


async def test_images_are_streamed(gateway, upstream, alice):
    events = [
        {"type": "image_generation.partial_image", "b64_json": "AA", "partial_image_index": 0},
        {"type": "image_generation.completed", "b64_json": "AAAA", "usage": USAGE},
    ]
    upstream.queue_scripts(send_stream(*events))
    async with open_client(gateway, alice) as client:
        stream = await client.images.generate(
            model="m", prompt="A cat", stream=True, partial_images=1
        )
        types = [event.type async for event in stream]
    assert types == ["image_generation.partial_image", "image_generation.completed"]
    row = await rows.read_only_usage_record()
    assert (row.stream, row.completion_tokens) == (True, 4_000)
    assert row.attempts[0]["units"] == {"images": 1}


@pytest.mark.parametrize("path", ["/v1/images/edits", "/v1/images/variations"])
@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": None}, "model"),
        ({"n": "two"}, "n"),
        ({"n": "11"}, "n"),
        ({"n": "0"}, "n"),
        ({"stream": "maybe"}, "stream"),
        ({"base_url": "http://elsewhere"}, "base_url"),
        ({"model": ["m", "m"]}, "model"),
    ],
)
async def test_a_wrong_form_is_a_400(gateway, upstream, alice, path, fields, param):
    files = {"image": ("a.png", PNG, "image/png")}
    values = {"prompt": "x"} | fields
    answer = await send_form(gateway, alice, path, files, **values)
    assert (answer.status, answer.error["param"]) == (400, param)
    assert upstream.requests == []


async def test_a_refused_prompt_keeps_status_and_code(gateway, upstream, alice):
    upstream.queue_scripts(send_refusal(400, "Not allowed.", "content_policy_violation"))
    answer = await gateway.send_request(
        "POST", "/v1/images/generations", alice.key, json={"model": "m", "prompt": "x"}
    )
    assert answer.status == 400
    assert answer.error["code"] == "content_policy_violation"
    assert answer.error["message"] == "Not allowed."


async def test_an_answer_that_is_no_json_is_a_502(gateway, upstream, alice):
    upstream.queue_scripts(send_reply(b"PNG"), send_reply({"error": {"message": "broken"}}))
    for _ in range(2):
        answer = await gateway.send_request(
            "POST", "/v1/images/generations", alice.key, json={"model": "m", "prompt": "x"}
        )
        assert answer.status == 502
