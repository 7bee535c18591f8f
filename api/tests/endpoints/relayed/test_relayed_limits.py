"""Limits of requests, money and running requests hold for relayed requests too."""

import asyncio
import json

import pytest

from api.models import LimitSet
from api.tests.endpoints.relayed.relayed_requests import RECORDING, TOKEN_USAGE, send_form
from api.tests.pricing.price_rows import create_price
from providers.database.database_threads import run_in_thread
from proxysite.testing import rows
from proxysite.testing.upstream import PAUSE, encode_response_head, send_pieces, send_reply


async def limit_key(gateway, person, **limits):
    """Give the person's key these limits."""
    await run_in_thread(lambda: LimitSet.objects.create(key=person.row, **limits))
    await gateway.reload_rows()


async def make_images(gateway, person, **fields):
    """Ask for images."""
    body = {"model": "m", "prompt": "x"} | fields
    return await gateway.send_request("POST", "/v1/images/generations", person.key, json=body)


async def test_requests_are_counted(gateway, upstream, alice):
    await limit_key(gateway, alice, requests_per_minute=1)
    upstream.queue_scripts(send_reply({"text": "Hello."}))
    first = await send_form(gateway, alice)
    assert (first.status, first.headers["x-ratelimit-remaining-requests"]) == (200, "0")
    refused = await send_form(gateway, alice)
    assert (refused.status, refused.error["code"]) == (429, "rate_limit_exceeded")
    records = await rows.read_usage_records()
    assert {row.endpoint for row in records} == {"audio/transcriptions"}
    assert len(upstream.requests) == 1


@pytest.fixture
async def image_price(gateway, provider):
    return await run_in_thread(
        create_price,
        provider,
        "upstream-model",
        prompt_usd=None,
        completion_usd=None,
        image_usd="0.4",
        audio_second_usd="0.5",
    )


@pytest.mark.settings(LIMIT_WAIT_SECONDS=0.05)
@pytest.mark.parametrize("kind", ["images", "recording"])
async def test_money_is_reserved_by_images_and_by_the_size_of_a_recording(
    gateway, upstream, alice, image_price, kind
):
    await limit_key(gateway, alice, total_budget_usd=3)
    upstream.set_default_script(answer_later({"data": [{"url": "u"}] * 5, "duration": 4}))
    large = {"file": ("a.wav", RECORDING * 8, "audio/wav")}  # taken for four seconds
    running = []
    for number in (1, 2):  # the second one is short of money, and so the last one
        running.append(
            asyncio.create_task(
                make_images(gateway, alice, n=5)
                if kind == "images"
                else send_form(gateway, alice, files=large)
            )
        )
        await upstream.wait_for_request(number)
    refused = await make_images(gateway, alice)
    assert (refused.status, refused.error["code"]) == (429, "rate_limit_exceeded")
    assert "reserved by requests that are running" in refused.error["message"]
    upstream.gate.open()
    assert [(await task).status for task in running] == [200, 200]
    costs = [row.cost_micro_usd for row in await rows.read_usage_records() if row.attempts]
    assert costs == [2_000_000, 2_000_000]
    assert (await make_images(gateway, alice)).error["code"] == "insufficient_quota"


async def test_tokens_are_settled_as_reported(gateway, upstream, alice):
    await limit_key(gateway, alice, tokens_per_minute=20)
    upstream.set_default_script(send_reply({"text": "Hello.", "usage": TOKEN_USAGE}))
    large = {"file": ("a.wav", RECORDING * 40, "audio/wav")}
    assert (await send_form(gateway, alice, files=large)).status == 200
    status = await gateway.send_request("GET", "/v1/key", alice.key)
    (limit,) = [one for one in status.json["limits"] if one["limit"] == "tokens_per_minute"]
    assert limit["left"] == 20 - 19


def answer_later(body):
    """Return a script that answers when the upstream's gate is opened."""
    data = json.dumps(body).encode()
    headers = {"content-type": "application/json", "content-length": str(len(data))}
    return send_pieces(PAUSE, encode_response_head(200, headers) + data)
