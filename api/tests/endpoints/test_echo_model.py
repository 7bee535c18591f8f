"""The offline model that says back what it was told."""

import struct
from base64 import b64decode

import pytest

from api.tests.endpoints.model_requests import COMPLETIONS, EMBEDDINGS, request_model
from providers.database.database_threads import run_in_thread
from providers.models import Provider
from proxysite.testing import rows


@pytest.fixture
async def echo(gateway):
    """The offline provider and its model, as the first run makes them."""

    def make():
        row = Provider.objects.create(name="echo", kind="echo", needs_token=False)
        return rows.create_model(
            row, "echo", "echo", capabilities=["chat", "completions", "embeddings"]
        )

    row = await run_in_thread(make)
    await gateway.reload_rows()
    return row


async def test_echo_says_back_what_it_was_told(gateway, alice, echo):
    messages = [{"role": "user", "content": [{"type": "text", "text": "Grüß Gott, Welt!"}]}]
    for streams in (False, True):
        answer = await gateway.request_chat(
            alice.key, model="echo", messages=messages, stream=streams
        )
        assert answer.status == 200
        assert answer.text == "Grüß Gott, Welt!"
    assert answer.is_complete
    for row in await rows.read_usage_records():
        assert row.status == "complete"
        assert row.estimated
        assert row.completion_tokens > 0
        assert row.token_id is None


async def test_echo_has_every_door(gateway, alice, echo):
    legacy = await request_model(gateway, alice, COMPLETIONS, model="echo", prompt="one two")
    assert legacy.json["choices"][0]["text"] == "one two"
    streamed = await request_model(
        gateway, alice, COMPLETIONS, model="echo", prompt="one two", stream=True
    )
    assert streamed.is_complete
    as_floats = (
        await request_model(gateway, alice, EMBEDDINGS, model="echo", input=["a", "b", "a"])
    ).json["data"]
    as_base64 = await request_model(
        gateway, alice, EMBEDDINGS, model="echo", input="a", encoding_format="base64"
    )
    vector = as_floats[0]["embedding"]
    assert vector == as_floats[2]["embedding"] != as_floats[1]["embedding"]
    packed = b64decode(as_base64.json["data"][0]["embedding"])
    assert list(struct.unpack(f"<{len(vector)}f", packed)) == pytest.approx(vector)
