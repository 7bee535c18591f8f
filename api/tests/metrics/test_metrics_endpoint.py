"""/metrics: who may read it, and that its figures are those of the requests."""

import asyncio

import pytest
from prometheus_client.parser import text_string_to_metric_families

from providers.database.database_threads import run_in_thread
from proxysite.testing import rows
from proxysite.testing.upstream import keep_silent, send_refusal

SECRET = "watch-me"
pytestmark = pytest.mark.settings(METRICS_TOKEN=SECRET)


async def read_samples(gateway):
    """Return the value of each sample by its name and labels."""
    answer = await gateway.send_request(
        "GET", "/metrics", headers={"authorization": f"Bearer {SECRET}"}
    )
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.body.decode())
        for sample in family.samples
    }


def find_value(samples, name, **labels):
    """Return the sum of the samples that have these labels."""
    return sum(
        value
        for (sample_name, pairs), value in samples.items()
        if sample_name == name and labels.items() <= dict(pairs).items()
    )


async def test_requests_tokens_and_calls_are_counted(gateway, upstream, alice, provider, token):
    before = await read_samples(gateway)
    await gateway.request_chat(alice.key)
    upstream.queue_scripts(send_refusal(400))
    await gateway.request_chat(alice.key)
    after = await read_samples(gateway)

    def added(name, **labels):
        return find_value(after, name, **labels) - find_value(before, name, **labels)

    labels = {"endpoint": "chat/completions", "model": "m", "provider": provider.name}
    assert added("proxysite_requests_total", status="complete", http_status="200", **labels) == 1
    assert added("proxysite_requests_total", http_status="400", **labels) == 1
    assert added("proxysite_tokens_total", model="m", kind="prompt") > 0
    assert added("proxysite_upstream_calls_total", provider=provider.name) == 2
    assert added("proxysite_request_seconds_count", endpoint="chat/completions") == 2
    assert added("proxysite_request_seconds_bucket", le="+Inf") == 2
    assert (
        find_value(after, "proxysite_provider_tokens", provider=provider.name, state="ready") == 1
    )
    assert find_value(after, "proxysite_breaker_open_seconds", provider=provider.name) == 0
    assert find_value(after, "proxysite_ledger_suspended") == 0
    assert find_value(after, "process_cpu_seconds_total") > 0


async def test_running_requests_are_shown(gateway, upstream, alice, token):
    upstream.queue_scripts(keep_silent)
    running = asyncio.create_task(gateway.request_chat(alice.key))
    await upstream.wait_for_request()
    samples = await read_samples(gateway)
    assert find_value(samples, "proxysite_requests_in_flight") == 1
    running.cancel()


async def test_only_the_token_or_staff_who_may_view_requests_read_it(gateway, alice, operator):
    for credential, status in (
        ({}, 401),
        ({"authorization": "Bearer wrong"}, 401),
        ({"authorization": f"Basic {SECRET}"}, 401),
        ({"authorization": f"Bearer {alice.key}"}, 403),
        ({"authorization": f"Bearer {operator.key}"}, 200),
    ):
        answer = await gateway.send_request("GET", "/metrics", headers=credential)
        assert answer.status == status, credential


@pytest.mark.settings(METRICS_TOKEN="")
async def test_an_empty_token_opens_nothing(gateway):
    for shown in ("Bearer ", "Bearer"):
        answer = await gateway.send_request("GET", "/metrics", headers={"authorization": shown})
        assert answer.status == 401
        assert "Show METRICS_TOKEN" in answer.error["message"]


async def test_names_of_callers_and_tokens_are_no_labels(gateway, upstream, alice, provider):
    await run_in_thread(rows.create_tokens, provider, "sk-up-secret")
    await gateway.request_chat(alice.key)
    answer = await gateway.send_request(
        "GET", "/metrics", headers={"authorization": f"Bearer {SECRET}"}
    )
    text = answer.body.decode()
    assert alice.user.username not in text
    assert "sk-up" not in text
    assert alice.key[:8] not in text
