"""Programs with the `openai` package of npm that leave before the answer ends."""

import asyncio
from typing import Any

import pytest

from proxysite.testing import speech
from proxysite.testing.upstream import DONE, Gate, send_stream
from proxysite.tests.processes import Gateway, patiently

pytestmark = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="module")]


@pytest.mark.parametrize("way", ["break", "controller", "signal"])
async def test_leaving_a_stream_closes_the_upstreams_connection(node, upstream, gateway, way):
    gate = Gate()
    upstream.queue_scripts(
        send_stream(
            *speech.content_chunks("Hello"),
            gate,
            *speech.content_chunks(" there"),
            speech.chat_chunk(finish="stop"),
            DONE,
        )
    )
    async with node.running("leave", way) as seen:
        assert seen == {"heard": "Hello", "aborted": True}
        await upstream.last_exchange.wait_until_left()  # while the program that left is still there
    gate.open()
    row = await asyncio.to_thread(patiently, lambda: find_abandoned_row(gateway), "its row")
    assert row["completion_tokens"] > 0
    assert row["estimated"]


def find_abandoned_row(gateway: Gateway) -> dict[str, Any] | None:
    """The last request's row, when it is one that the caller left."""
    row = gateway.ledger("m")[-1]
    return row if row["status"] == "abandoned" else None


async def test_a_client_that_loses_patience_closes_the_upstreams_connection(
    node, upstream, gateway
):
    gate = Gate()
    upstream.queue_scripts(
        send_stream(gate, *speech.content_chunks("Hello"), speech.chat_chunk(finish="stop"), DONE)
    )
    async with node.running("error", {"stream": True}, {"timeout": 500}) as error:
        assert error["kind"] == "APIConnectionTimeoutError"
        await upstream.last_exchange.wait_until_left()
    gate.open()
