"""Limits of requests, tokens and running requests, as callers meet them."""

import asyncio

import pytest

from api.models import LimitSet, Team, TeamMember
from api.tests.endpoints.late_answers import send_late
from api.tests.endpoints.whole_and_streamed import WHOLE_AND_STREAMED
from providers.database.database_threads import run_in_thread
from proxysite.testing import rows, speech
from proxysite.testing.rows import Person
from proxysite.testing.upstream import DONE, Gate, send_reply, send_stream

NOTHING = {"query": "x", "results": [], "response_time": 0.1}  # of a search service


def limit_key(person: Person, **limits: object) -> LimitSet:
    return LimitSet.objects.create(key=person.row, **limits)


@WHOLE_AND_STREAMED
async def test_a_key_without_limits_gets_no_headers_about_them(gateway, upstream, alice, streams):
    answer = await gateway.request_chat(alice.key, stream=streams)
    assert not [name for name in answer.headers if name.startswith("x-ratelimit")]


@pytest.fixture
def three_a_minute(alice: Person) -> LimitSet:
    return limit_key(alice, requests_per_minute=3)


@WHOLE_AND_STREAMED
async def test_the_fourth_of_three_requests_a_minute_is_refused(
    alice, three_a_minute, gateway, upstream, streams
):
    for left in (2, 1, 0):
        answer = await gateway.request_chat(alice.key, stream=streams)
        assert answer.status == 200
        assert answer.headers["x-ratelimit-limit-requests"] == "3"
        assert answer.headers["x-ratelimit-remaining-requests"] == str(left)
        assert answer.headers["x-ratelimit-reset-requests"] in ("1m0s", "60s", "59s")
    refused = await gateway.request_chat(alice.key, stream=streams)
    assert refused.status == 429
    assert refused.error["code"] == "rate_limit_exceeded"
    assert refused.error["type"] == "requests"
    assert 1 <= int(refused.headers["retry-after"]) <= 61
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"
    assert len(upstream.requests) == 3


async def test_refused_requests_have_one_usage_record(alice, three_a_minute, gateway, upstream):
    answers = [await gateway.request_chat(alice.key) for _ in range(10)]
    assert [answer.status for answer in answers] == [200] * 3 + [429] * 7
    gateway.inner.ledger.queue_refused_rows(gateway.inner.refused_requests.take_rows())
    await gateway.inner.ledger.write_waiting_rows()
    records = [row for row in await rows.read_usage_records() if row.status == "refused"]
    assert sum(row.request_count for row in records) == 7
    assert len(records) <= 2  # a second may have ended meanwhile
    assert {row.refused_by for row in records} == {"key requests_per_minute"}
    assert {(row.http_status, row.error_code, row.model) for row in records} == {
        (429, "rate_limit_exceeded", "m")
    }
    assert records[-1].key_id == alice.row.pk
    request_ids = {answer.headers["x-request-id"] for answer in answers[3:]}
    assert f"req_{records[-1].id.hex}" in request_ids


@pytest.fixture
def two_at_once(alice: Person) -> LimitSet:
    return limit_key(alice, concurrent_requests=2)


async def test_requests_beyond_those_that_may_run_are_refused(
    alice, two_at_once, gateway, upstream
):
    gates = Gate(), Gate()
    end = speech.chat_chunk(finish="stop")
    upstream.queue_scripts(*(send_stream(gate, end, DONE) for gate in gates))
    running = [asyncio.create_task(gateway.request_chat(alice.key, stream=True)) for _ in gates]
    for gate in gates:
        await gate.wait_until_reached()
    refused = await gateway.request_chat(alice.key)
    assert (refused.status, refused.error["code"]) == (429, "rate_limit_exceeded")
    assert "2 requests at the same time" in refused.error["message"]
    for gate in gates:
        gate.open()
    assert [(await task).status for task in running] == [200, 200]
    assert (await gateway.request_chat(alice.key)).status == 200


@pytest.fixture
def team_of_alice(alice: Person, mallory: Person) -> Team:
    whole = Team.objects.create(name="Company")
    team = Team.objects.create(name="Research", parent=whole)
    for person in (alice, mallory):
        TeamMember.objects.create(user=person.user, team=team)
    LimitSet.objects.create(team=whole, requests_per_minute=4)
    LimitSet.objects.create(team=team, requests_per_minute=1_000)
    return whole


async def test_members_of_a_team_share_the_limits_of_the_team_above(
    alice, mallory, team_of_alice, gateway, upstream
):
    for person in (alice, mallory, alice, mallory):
        assert (await gateway.request_chat(person.key)).status == 200
    refused = await gateway.request_chat(alice.key)
    assert refused.status == 429
    assert "the team Company" in refused.error["message"]
    records = await rows.read_usage_records()
    assert {row.team.name for row in await run_in_thread(load_teams, records)} == {"Research"}


@pytest.fixture
def search_service(settings, upstream) -> Gate:
    """The upstream as a search service, which answers when the gate is open."""
    settings.SEARCH_BACKEND, settings.SEARCH_ALLOW_PRIVATE = "tavily", True
    settings.SEARCH_URL, settings.SEARCH_KEY = upstream.url, "search-key-1"
    gate = Gate()
    upstream.queue_scripts(send_late(gate, send_reply(NOTHING)))
    upstream.set_default_script(send_reply(NOTHING))
    return gate


@pytest.fixture
def one_search(alice: Person) -> LimitSet:
    return limit_key(alice, requests_per_minute=2, concurrent_requests=1)


async def test_web_searches_count_as_requests(one_search, search_service, gateway, upstream, alice):
    async def search():
        return await gateway.send_request("POST", "/v1/web_search", alice.key, json={"query": "x"})

    running = asyncio.create_task(search())
    await search_service.wait_until_reached()
    beside = await search()
    assert (beside.status, beside.error["code"]) == (429, "rate_limit_exceeded")
    assert "1 requests at the same time" in beside.error["message"]
    search_service.open()
    answers = [await running, await search(), await search()]
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert answers[1].headers["x-ratelimit-remaining-requests"] == "0"
    assert "2 requests per minute" in answers[2].error["message"]
    assert len(upstream.requests) == 2


def load_teams(records):
    for row in records:
        row.team  # noqa: B018 - read in this thread
    return records


@pytest.fixture
def thousand_tokens(alice: Person) -> LimitSet:
    return limit_key(alice, tokens_per_minute=1_000)


@WHOLE_AND_STREAMED
async def test_tokens_are_counted_as_the_answers_used_them(
    alice, thousand_tokens, gateway, upstream, streams
):
    upstream.queue_scripts(
        *[send_reply(speech.chat_completion(usage=speech.token_usage(300, 100)))] * 2
    )
    statuses = [(await gateway.request_chat(alice.key)).status for _ in range(2)]
    refused = await gateway.request_chat(alice.key, max_tokens=900, stream=streams)
    assert (statuses, refused.status) == ([200, 200], 429)
    assert refused.error["type"] == "tokens"
    assert refused.headers["x-ratelimit-limit-tokens"] == "1000"


async def test_every_answer_of_a_limited_key_says_what_is_left(
    alice, three_a_minute, gateway, upstream
):
    await gateway.request_chat(alice.key)
    headers = {"authorization": f"Bearer {alice.key}"}
    for method, path, status in (
        ("GET", "/v1/models", 200),
        ("GET", "/v1/models/none", 404),
        ("GET", "/v1/files", 200),
        ("POST", "/v1/chat/completions", 400),
    ):
        answer = await gateway.send_request(method, path, headers=headers)
        assert answer.status == status, path
        assert answer.headers["x-ratelimit-limit-requests"] == "3", path
        assert answer.headers["x-ratelimit-remaining-requests"] == "2", path
