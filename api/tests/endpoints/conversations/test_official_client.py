"""OpenAI's own client keeps a conversation."""

import openai
import pytest
from openai import AsyncOpenAI

from api.tests.endpoints.conversations.conversation_requests import HELLO


async def test_the_official_client_keeps_a_conversation(gateway, alice):
    async with AsyncOpenAI(
        base_url=f"{gateway.url}/v1", api_key=alice.key, max_retries=0
    ) as client:
        made = await client.conversations.create(metadata={"topic": "Graz"}, items=[HELLO])
        assert made.metadata == {"topic": "Graz"}
        assert await client.conversations.retrieve(made.id) == made
        assert (await client.conversations.update(made.id, metadata={"a": "b"})).metadata == {
            "a": "b"
        }
        image = {"type": "input_image", "image_url": "https://example.org/a.png", "detail": "auto"}
        added = await client.conversations.items.create(
            made.id,
            items=[{"role": "user", "content": [image]}],
            include=["message.input_image.image_url"],
        )
        assert added.data[0].content[0].image_url == "https://example.org/a.png"
        pages = client.conversations.items.list(made.id, limit=1, order="asc")
        seen = [item async for item in pages]
        assert [type(item).__name__ for item in seen] == ["Message", "Message"]
        assert seen[0].content[0].text == "Hello!"
        assert (
            await client.conversations.items.retrieve(seen[0].id, conversation_id=made.id)
            == seen[0]
        )
        left = await client.conversations.items.delete(seen[0].id, conversation_id=made.id)
        assert (left.id, left.object) == (made.id, "conversation")
        assert (await client.conversations.delete(made.id)).deleted
        with pytest.raises(openai.NotFoundError) as caught:
            await client.conversations.retrieve(made.id)
        assert caught.value.code == "conversation_not_found"
