"""What a request reserves comes back, whichever endpoint it calls and however it ends."""

import asyncio
from datetime import UTC, datetime

import pytest

from api.models import LimitSet, Price
from api.tests.endpoints.idempotency.keyed_requests import key_header
from api.tests.endpoints.responses.background_responses import (
    create_background_response,
    wait_for_stored_events,
)
from providers.database.database_threads import run_in_thread
from proxysite.testing import rows, speech, wait_until_true
from proxysite.testing.gateway import HELLO
from proxysite.testing.upstream import (
    DONE,
    Gate,
    answer_honestly,
    send_refusal,
    send_reply,
    send_stream,
)
from tokens.models import UpstreamToken

CHAT = {"model": "m", "messages": HELLO, "max_tokens": 20}
REQUESTS = {
    "/v1/chat/completions": CHAT,
    "/v1/completions": {"model": "m", "prompt": "Hello", "max_tokens": 20},
    "/v1/embeddings": {"model": "m", "input": "Hello"},
    "/v1/responses": {"model": "m", "input": "Hello", "max_output_tokens": 20},
    "/v1/responses/compact": {"model": "m", "input": "Hello"},
}
ANSWERS = {
    "/v1/completions": speech.text_completion("Hello!"),
    "/v1/embeddings": speech.embedding_list([0.5, 0.25]),
}


@pytest.fixture
def limited(alice, provider) -> LimitSet:
    """Limits of every kind, of which nothing is used up here."""
    Price.objects.create(
        provider=provider,
        upstream_model=provider.models.get().upstream_name,
        valid_from=datetime(2020, 1, 1, tzinfo=UTC),
        prompt_usd=1_000,
        completion_usd=2_000,
    )
    return LimitSet.objects.create(
        key=alice.row,
        requests_per_minute=320,
        tokens_per_minute=1_000_000,
        concurrent_requests=10,
        total_budget_usd=1_000,
    )


async def count_used(gateway, alice) -> dict[str, int]:
    """Return what is used of each limit when what is idle has been given back."""
    keeper = gateway.inner.limits
    await keeper.exchange_now()  # after one that runs
    for allowance in keeper._allowances.values():
        assert not allowance.reserved, allowance.counter
        assert (allowance.asking, allowance.has_overdraft, len(allowance.waiters)) == (0, False, 0)
        allowance.used_at = float("-inf")
    keeper.collect_changes()
    await keeper.exchange_now()
    answer = await gateway.send_request("GET", "/v1/key", alice.key)
    return {limit["limit"]: limit["used"] for limit in answer.json["limits"]}


async def read_tokens_and_cost() -> tuple[int, int]:
    records = await rows.read_usage_records()
    tokens = sum(record.prompt_tokens + record.completion_tokens for record in records)
    return tokens, sum(record.cost_micro_usd or 0 for record in records)


@pytest.mark.parametrize("path", REQUESTS)
async def test_every_endpoint_uses_what_its_record_says(limited, gateway, upstream, alice, path):
    upstream.set_default_script(
        send_reply(ANSWERS[path]) if path in ANSWERS else answer_honestly("Hello!")
    )
    for _ in range(3):
        answer = await gateway.send_request("POST", path, alice.key, json=REQUESTS[path])
        assert answer.status == 200, answer.body
        assert answer.headers["x-ratelimit-limit-requests"] == "320"
    tokens, cost = await read_tokens_and_cost()
    used = await count_used(gateway, alice)
    assert used.pop("total_budget_usd") == pytest.approx(cost / 1_000_000)
    assert used == {
        "requests_per_minute": 3,
        "tokens_per_minute": tokens,
        "concurrent_requests": 0,
    }
    assert tokens


@pytest.mark.parametrize("path", REQUESTS)
async def test_a_repeated_answer_uses_nothing(limited, gateway, upstream, alice, path):
    upstream.set_default_script(
        send_reply(ANSWERS[path]) if path in ANSWERS else answer_honestly("Hello!")
    )
    statuses = [
        (
            await gateway.send_request(
                "POST", path, alice.key, json=REQUESTS[path], headers=key_header()
            )
        ).status
        for _ in range(3)
    ]
    assert statuses == [200] * 3
    assert (await count_used(gateway, alice))["requests_per_minute"] == 1


async def test_a_response_in_the_background_settles_when_it_has_ended(
    limited, gateway, upstream, alice
):
    upstream.set_default_script(answer_honestly("Hello!"))
    assert (await create_background_response(gateway, alice)).status == 200
    await wait_for_stored_events(gateway)
    tokens, _ = await read_tokens_and_cost()
    used = await count_used(gateway, alice)
    assert (used["tokens_per_minute"], used["concurrent_requests"]) == (tokens, 0)


async def test_a_request_that_is_wrong_uses_nothing(limited, gateway, upstream, alice):
    for wrong in ({"temperature": "hot"}, {"messages": []}, {"model": "unknown"}):
        answer = await gateway.send_request(
            "POST", "/v1/chat/completions", alice.key, json=CHAT | wrong
        )
        assert answer.status in (400, 404)
    used = await count_used(gateway, alice)
    assert set(used.values()) == {0}
    assert not upstream.requests


async def test_a_request_that_no_token_can_answer_uses_nothing(
    limited, gateway, upstream, alice, token
):
    await run_in_thread(UpstreamToken.objects.all().delete)
    await gateway.reload_rows()
    for streams in (False, True):
        answer = await gateway.request_chat(alice.key, stream=streams)
        assert answer.status == 503
    used = await count_used(gateway, alice)
    assert set(used.values()) == {0}
    assert not upstream.requests


async def test_a_request_that_the_upstream_refuses_counts_as_a_request_only(
    limited, gateway, upstream, alice
):
    upstream.set_default_script(send_refusal(400))
    assert (await gateway.request_chat(alice.key)).status == 400
    used = await count_used(gateway, alice)
    assert (used["requests_per_minute"], used["concurrent_requests"]) == (1, 0)
    assert used["total_budget_usd"] == 0


async def test_callers_who_leave_at_once_hold_nothing(limited, gateway, upstream, alice):
    upstream.set_default_script(answer_honestly("Hello!"))
    tasks = [asyncio.create_task(gateway.request_chat(alice.key, stream=True)) for _ in range(20)]
    for task in tasks:
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await wait_until_true(lambda: not gateway.inner.requests_in_flight)
    tokens, cost = await read_tokens_and_cost()
    used = await count_used(gateway, alice)
    assert used.pop("total_budget_usd") == pytest.approx(cost / 1_000_000)
    assert (used["tokens_per_minute"], used["concurrent_requests"]) == (tokens, 0)


async def test_limits_that_change_while_a_request_runs_hold_nothing_afterwards(
    limited, gateway, upstream, alice
):
    gate = Gate()
    chunks = speech.content_chunks("one two")
    upstream.queue_scripts(send_stream(*chunks, gate, DONE))
    running = asyncio.create_task(gateway.request_chat(alice.key, stream=True))
    await gate.wait_until_reached()

    def change_limits() -> None:
        LimitSet.objects.update(
            concurrent_requests=1, total_budget_usd="0.001", tokens_per_minute=10
        )

    await run_in_thread(change_limits)
    gateway.inner.keyring.clear_callers()
    refused = await gateway.request_chat(alice.key)
    assert refused.status == 429
    gate.open()
    assert (await running).status == 200
    used = await count_used(gateway, alice)
    assert used["concurrent_requests"] == 0


async def test_money_is_held_until_the_record_is_committed_though_the_caller_has_left(
    limited, ledger_lock, gateway, upstream, alice
):
    upstream.set_default_script(answer_honestly("Hello!"))

    def count_uncommitted() -> int:
        return sum(one.uncommitted for one in gateway.inner.limits._allowances.values())

    assert (await gateway.request_chat(alice.key)).status == 200
    await wait_until_true(lambda: not count_uncommitted())
    async with ledger_lock:
        leaving = asyncio.create_task(gateway.request_chat(alice.key, max_tokens=20))
        await wait_until_true(count_uncommitted)
        leaving.cancel()
        await wait_until_true(lambda: not gateway.inner.requests_in_flight)
        assert count_uncommitted()
    await wait_until_true(lambda: not count_uncommitted())
    _, cost = await read_tokens_and_cost()
    assert (await count_used(gateway, alice))["total_budget_usd"] == cost / 1_000_000


@pytest.fixture
def cent_for_each_end_user(alice, limited) -> None:
    LimitSet.objects.create(key=alice.row, for_each_end_user=True, requests_per_minute=1)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/v1/embeddings"])
async def test_end_users_are_found_in_the_bodies_of_all_endpoints(
    cent_for_each_end_user, gateway, upstream, alice, path
):
    upstream.set_default_script(
        send_reply(ANSWERS[path]) if path in ANSWERS else answer_honestly("Hello!")
    )
    field = "user" if path == "/v1/embeddings" else "safety_identifier"
    statuses = [
        (
            await gateway.send_request("POST", path, alice.key, json=REQUESTS[path] | {field: name})
        ).status
        for name in ("ann", "ann", "bob")
    ]
    assert statuses == [200, 429, 200]


@pytest.mark.settings(DATABASE_TIMEOUT_SECONDS=1)
async def test_a_frozen_database_holds_nobody_and_nothing_is_lost(
    database_proxy, limited, gateway, upstream, alice
):
    """What is leased is used on; what would have to be leased is answered with 503."""
    upstream.set_default_script(answer_honestly("Hello!"))
    assert (await gateway.request_chat(alice.key, max_tokens=20)).status == 200
    keeper = gateway.inner.limits
    keeper.collect_changes()
    for allowance in keeper._allowances.values():
        allowance.drop_idle()
    with database_proxy.freeze_traffic():
        answers = await asyncio.gather(
            *(gateway.request_chat(alice.key, max_tokens=20) for _ in range(5))
        )
        assert {answer.status for answer in answers} == {503}
        assert {answer.error["code"] for answer in answers} == {"database_unavailable"}

    async def is_answered() -> bool:
        return (await gateway.request_chat(alice.key, max_tokens=20)).status == 200

    await wait_until_true(is_answered)
    await wait_until_true(lambda: not any(map(has_uncommitted, keeper._allowances.values())))
    used = await count_used(gateway, alice)
    assert used["concurrent_requests"] == 0
    _, cost = await read_tokens_and_cost()
    assert used["total_budget_usd"] == pytest.approx(cost / 1_000_000)


def has_uncommitted(allowance) -> bool:
    return bool(allowance.uncommitted)
