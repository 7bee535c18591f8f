"""OpenAI's own client, for Alice and for a stranger."""

import openai
import pytest


def make_client(gateway, person):
    """Return OpenAI's own client with the key of a person."""
    return openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=person.key, max_retries=0)


@pytest.fixture
async def client(gateway, alice):
    """Yield a client with Alice's key."""
    async with make_client(gateway, alice) as opened:
        yield opened


@pytest.fixture
async def stranger(gateway, mallory):
    """Yield a client with the key of somebody else."""
    async with make_client(gateway, mallory) as opened:
        yield opened
