"""A provider with a proxy: its answers and its small calls come through it."""

import pytest

from providers import registry
from providers.catalogue.catalogue_rows import make_upstream
from providers.database.database_threads import run_in_thread
from providers.models import Provider
from providers.network.clients import Clients
from providers.protocol.request import Credential
from providers.tests.network.proxies.forwarding_proxy import ForwardingProxy
from proxysite.testing import speech, wait_until_true
from proxysite.testing.upstream import DONE, send_reply, send_stream


@pytest.fixture
async def proxy():
    server = ForwardingProxy("http", "june:pa@ss")
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def proxied(provider, proxy):
    """The provider of the tests, behind the proxy."""
    provider.proxy_url = proxy.url.replace("//", "//june:pa%40ss@")
    await run_in_thread(provider.save)
    return provider


async def test_answers_and_streams_come_through_the_proxy(proxied, proxy, gateway, upstream, alice):
    upstream.queue_scripts(
        send_reply(speech.chat_completion("Hello there!")),
        send_stream(*speech.streamed_completion("Hello there!"), DONE),
    )
    answer = await gateway.request_chat(alice.key)
    assert answer.json["choices"][0]["message"]["content"] == "Hello there!"
    streamed = await gateway.request_chat(alice.key, stream=True)
    assert streamed.status == 200
    assert proxy.targets == [f"127.0.0.1:{upstream.port}"] * len(proxy.targets)
    assert proxy.targets
    assert upstream.connections == len(proxy.targets)


async def test_small_calls_come_through_the_proxy(proxied, proxy, upstream):
    upstream.set_default_script(send_reply({"data": [{"id": "m"}]}))
    row = await run_in_thread(Provider.objects.get)
    async with Clients() as clients:
        made = await run_in_thread(make_upstream, row)
        adapter = registry.get_adapter_class(row.kind)(made, clients)
        assert await adapter.list_model_ids(Credential(None, "sk-up-1")) == ["m"]
    assert proxy.targets == [f"127.0.0.1:{upstream.port}"]


async def test_a_proxy_that_is_taken_away_is_not_used_any_more(
    proxied, proxy, gateway, upstream, alice
):
    upstream.set_default_script(send_reply(speech.chat_completion("Hello there!")))
    assert (await gateway.request_chat(alice.key)).status == 200
    asked_before = len(proxy.targets)
    await run_in_thread(Provider.objects.update, proxy_url="direct")

    async def goes_directly():
        connections = upstream.connections
        await gateway.request_chat(alice.key)
        return upstream.connections > connections and len(proxy.targets) == asked_before

    await wait_until_true(goes_directly)


async def test_nothing_goes_past_a_proxy_that_refuses(proxied, proxy, gateway, upstream, alice):
    proxy.credentials = "somebody:else"
    answer = await gateway.request_chat(alice.key)
    assert answer.status >= 500
    assert "pa@ss" not in str(answer.json)
    assert upstream.connections == 0
