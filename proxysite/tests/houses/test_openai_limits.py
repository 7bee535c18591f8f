"""The official `openai` package meets the limits of a key: what it raises, what it asks again."""

import asyncio

import openai
import pytest
from openai import AsyncOpenAI

from proxysite.testing import speech
from proxysite.testing.house import make_house
from proxysite.testing.upstream import send_reply
from proxysite.tests.houses.limited_keys import USAGE, create_limited_key, set_price

HELLO = [{"role": "user", "content": "Hello!"}]
RETRIES = 2  # the package's own number


@pytest.fixture(scope="module")
def priced_house(_furnished, tmp_path_factory):
    """A house whose model has a price."""
    home = tmp_path_factory.mktemp("openai_limits") / "home"
    with make_house(home, template=_furnished[0]) as house:
        set_price(house)
        house.start()
        yield house


class CountingClient:
    """The package's client with a key that has limits, and the answers that it got."""

    def __init__(self, house, key):
        self.client = AsyncOpenAI(base_url=f"{house.url}/v1", api_key=key, max_retries=RETRIES)
        self.answers = []
        self.client._client.event_hooks["response"].append(self.count_answer)
        self.pauses = []

    async def count_answer(self, response):
        self.answers.append(response)

    async def ask(self, **options):
        return await self.client.chat.completions.create(
            model="m", messages=HELLO, **({"max_tokens": 50} | options)
        )


@pytest.fixture
async def open_client(priced_house, house_upstream, monkeypatch):
    """Return a function that makes a client whose key has these limits; its pauses are noted."""
    house_upstream.set_default_script(send_reply(speech.chat_completion(usage=USAGE)))
    clients = []

    async def open_one(**limits):
        key = await asyncio.to_thread(create_limited_key, priced_house, **limits)
        counting = CountingClient(priced_house, key)
        clients.append(counting.client)

        async def note_pause(seconds):
            counting.pauses.append(seconds)

        monkeypatch.setattr("anyio.sleep", note_pause)
        return counting

    yield open_one
    for client in clients:
        await client.close()


async def test_a_minutes_requests_are_a_rate_limit_that_is_waited_for(open_client):
    limited = await open_client(requests_per_minute=1)
    await limited.ask()
    with pytest.raises(openai.RateLimitError) as caught:
        await limited.ask()
    error = caught.value
    assert (error.code, error.type) == ("rate_limit_exceeded", "requests")
    assert "1 requests per minute" in error.message
    assert "Try again in" in error.message
    refused = limited.answers[1:]
    assert [answer.status_code for answer in refused] == [429] * (1 + RETRIES)
    wanted = [int(answer.headers["retry-after-ms"]) / 1000 for answer in refused[:RETRIES]]
    assert limited.pauses == wanted
    assert all(0 < seconds <= 60.25 for seconds in wanted)
    assert 0 < int(refused[0].headers["retry-after"]) <= 61


async def test_a_minutes_tokens_are_a_rate_limit(open_client):
    limited = await open_client(tokens_per_minute=150)
    await limited.ask()
    with pytest.raises(openai.RateLimitError) as caught:
        await limited.ask()
    assert (caught.value.code, caught.value.type) == ("rate_limit_exceeded", "tokens")
    assert "150 tokens per minute" in caught.value.message


async def test_spent_money_is_a_quota_that_is_not_asked_for_again(open_client):
    limited = await open_client(total_budget_usd="0.02")
    await limited.ask()
    with pytest.raises(openai.RateLimitError) as caught:
        await limited.ask()
    error = caught.value
    assert (error.code, error.type) == ("insufficient_quota", "insufficient_quota")
    assert "The budget of 0.02 USD in total of the API key" in error.message
    assert [answer.status_code for answer in limited.answers] == [200, 429]
    assert limited.pauses == []


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        ({"allowed_models": """'["echo"]'"""}, "model_not_allowed"),
        ({"allowed_endpoints": """'["/v1/embeddings"]'"""}, "endpoint_not_allowed"),
        ({"ip_ranges": """'["192.0.2.0/24"]'"""}, "address_not_allowed"),
        ({"expires_at": "'2020-01-01 00:00:00+00:00'"}, "access_expired"),
    ],
    ids=["models", "endpoints", "addresses", "expiry"],
)
async def test_access_that_is_not_allowed_is_refused_once(open_client, limits, code):
    limited = await open_client(**limits)
    with pytest.raises(openai.PermissionDeniedError) as caught:
        await limited.ask()
    assert caught.value.code == code
    assert len(limited.answers) == 1


async def test_streams_meet_the_same_errors(open_client):
    limited = await open_client(requests_per_minute=1, total_budget_usd=1)
    await limited.ask()
    with pytest.raises(openai.RateLimitError):
        await limited.ask(stream=True)
