"""A fault of ours is a 500 that tells nothing."""

import pytest

from api.streaming.chat_renderer import ChatRenderer
from providers.database.database_threads import run_in_thread
from proxysite.testing import rows, speech
from proxysite.testing.upstream import DONE, Gate, send_stream


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
async def test_a_fault_of_ours_before_the_first_byte_is_a_500_that_tells_nothing(
    gateway, upstream, alice, monkeypatch, caplog, streams
):
    async def broken(*args):
        raise RuntimeError("secret-detail")
        yield

    monkeypatch.setattr("tokens.failover.loop.answer", broken)
    answer = await gateway.request_chat(alice.key, stream=streams)
    assert answer.status == 500
    assert answer.error["type"] == "server_error"
    assert b"secret" not in answer.body
    assert b"Traceback" not in answer.body
    row = await rows.read_only_usage_record()
    assert (row.status, row.http_status, row.error_code) == ("error", 500, "internal_error")
    assert "secret-detail" in caplog.text
    caplog.clear()


async def test_a_fault_of_ours_in_the_middle_of_a_stream_is_an_error_event(
    gateway, upstream, alice, monkeypatch, caplog
):
    real = ChatRenderer.render_batch

    def broken(self, batch):
        if any(choice["finish_reason"] for chunk in batch for choice in chunk["choices"]):
            raise RuntimeError("secret-detail")
        return real(self, batch)

    monkeypatch.setattr(ChatRenderer, "render_batch", broken)
    gate = Gate()
    upstream.queue_scripts(
        send_stream(*speech.content_chunks("one"), gate, speech.chat_chunk(finish="stop"), DONE)
    )
    async with gateway.open_stream(alice.key) as reading:
        await reading.read_until("one")
        gate.open()
        answer = await reading.read_rest()
    assert answer.stream_error["code"] == "internal_error"
    assert b"secret" not in answer.body
    assert len(await rows.read_usage_records()) == 1
    assert "secret-detail" in caplog.text
    caplog.clear()


async def test_a_fault_of_ours_at_the_other_doors_is_the_same_500(
    gateway, alice, monkeypatch, caplog
):
    def broken(*args):
        raise RuntimeError("secret-detail")

    monkeypatch.setattr("api.views.model_catalogue.model_list.list_model_objects", broken)
    answer = await gateway.send_request("GET", "/v1/models", alice.key)
    assert answer.status == 500
    assert answer.error["type"] == "server_error"
    assert b"secret" not in answer.body
    caplog.clear()


async def test_a_model_that_names_a_missing_strategy_is_a_fault_of_ours(
    gateway, upstream, alice, provider, caplog
):
    await run_in_thread(rows.create_virtual_model, "odd", "m", "no_such_strategy")
    await gateway.reload_rows()
    answer = await gateway.request_chat(alice.key, model="odd")
    assert answer.status == 500
    assert answer.error["type"] == "server_error"
    assert upstream.requests == []
    caplog.clear()
