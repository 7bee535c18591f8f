"""Samples go from process to process through Redis, and a viewer wakes every process."""

import asyncio

import pytest
from channels.layers import channel_layers, get_channel_layer
from django.conf import settings

from providers.database.database_threads import run_in_thread
from providers.models import Revision
from proxysite.desk.live import sample_exchange
from proxysite.desk.live.sample_exchange import SampleExchange, name_group
from proxysite.testing import wait_until_true
from proxysite.tests.desk.live.viewers import MAY_WATCH, open_board, sign_in

needs_redis = pytest.mark.skipif(not settings.REDIS_URL, reason="needs REDIS_URL")


@pytest.fixture
async def layer():
    """The channel layer of this test's event loop, closed at its end."""
    yield get_channel_layer()
    await get_channel_layer().flush()
    channel_layers.backends.clear()


@needs_redis
async def test_a_sample_arrives_in_every_other_process(layer, monkeypatch):
    heard = []
    receiver = SampleExchange(heard.append)
    receiver.start_receiving()
    sender = SampleExchange(heard.append)
    sample = {"counts": {}, "running": [{"id": "req_1", "parts": 3}]}

    async def has_arrived():
        await sender.publish_sample(sample)
        await asyncio.sleep(0.05)
        return bool(heard)

    monkeypatch.setattr(sample_exchange, "PROCESS_ID", "other")
    await sender.publish_sample(sample)  # our own samples are not heard
    monkeypatch.setattr(sample_exchange, "PROCESS_ID", "me")
    original = sender.publish_sample

    async def publish_as_other(sample):
        message = {"type": sample_exchange.MESSAGE_TYPE, "process": "other", "sample": sample}
        await layer.group_send(name_group(), message)

    monkeypatch.setattr(sender, "publish_sample", publish_as_other)
    await wait_until_true(has_arrived)
    assert heard[0]["process"] == "other"
    assert heard[0]["sample"] == sample
    heard.clear()
    await original(sample)
    await publish_as_other({"counts": {}, "running": []})
    await wait_until_true(lambda: heard)
    assert [message["sample"]["running"] for message in heard] == [[]]
    await receiver.stop_receiving()


@pytest.mark.settings(REDIS_URL="redis://127.0.0.1:1/0")
async def test_without_an_answer_of_redis_the_board_shows_its_own_process_and_says_so(
    gateway, settings
):
    settings.CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": ["redis://127.0.0.1:1/0"]},
        }
    }
    cookie, _ = await sign_in(*MAY_WATCH)
    async with open_board(gateway, cookie) as board:
        frame = await board.read_until(lambda frame: frame["redis_away"] and frame)
    assert frame["processes"] == 1


async def test_a_viewer_raises_the_version_that_every_process_reads(gateway, monkeypatch):
    monkeypatch.setattr("proxysite.desk.live.watch.make_exchange", SilentExchange)
    cookie, _ = await sign_in(*MAY_WATCH)
    before = await run_in_thread(read_version)
    async with open_board(gateway, cookie) as board:
        await board.read_frame()

        async def is_raised():
            return await run_in_thread(read_version) > before

        await wait_until_true(is_raised)


async def test_an_announced_viewer_of_another_process_wakes_this_one(gateway, monkeypatch):
    await run_in_thread(sample_exchange.raise_live_version)  # the first change of all makes the row
    await gateway.reload_rows()
    await asyncio.sleep(0.5)
    await run_in_thread(sample_exchange.raise_live_version)
    await wait_until_true(lambda: gateway.live_board.is_running)
    assert gateway.live_board.viewer_count == 0
    assert gateway.inner.ledger.report_row is not None


class SilentExchange(SampleExchange):
    """An exchange that announces viewers, and sends and receives nothing."""

    async def publish_sample(self, sample):
        pass

    def start_receiving(self):
        pass

    async def close(self):
        pass


def read_version():
    return Revision.objects.filter(topic="live").values_list("version", flat=True).first() or 0
