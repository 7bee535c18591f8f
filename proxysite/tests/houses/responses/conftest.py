"""The official `openai` package, as it is, against a real process of ours."""

import pytest
from openai import AsyncOpenAI


@pytest.fixture
async def client(house, house_key, house_upstream):
    async with AsyncOpenAI(base_url=f"{house.url}/v1", api_key=house_key, max_retries=0) as found:
        yield found
