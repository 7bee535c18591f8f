"""What Anthropic's own package makes of a gateway: messages, streams, tools, thinking, errors."""

import asyncio
import os
from typing import Any

import anthropic
from running import run_case

TOOL: Any = {
    "name": "weather",
    "description": "The weather of a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}
THINKING: Any = {"type": "enabled", "budget_tokens": 1024}
HELLO: Any = [{"role": "user", "content": "Hello!"}]


def open_client(**options: Any) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(
        base_url=os.environ["BASE_URL"].removesuffix("/v1"),
        api_key=os.environ["API_KEY"],
        max_retries=0,
        **options,
    )


def dump_blocks(message: Any) -> Any:
    return [block.model_dump(exclude_none=True) for block in message.content]


async def message(streams: bool) -> Any:
    """One answer with thinking, text and a call."""
    client = open_client()
    fields: Any = {"model": "m", "max_tokens": 2048, "messages": HELLO}
    fields |= {"tools": [TOOL], "thinking": THINKING}
    if not streams:
        made = await client.messages.create(**fields)
        texts, kinds = [], []
    else:
        texts, kinds = [], []
        async with client.messages.stream(**fields) as stream:
            async for event in stream:
                kinds.append(event.type)
                if event.type == "text":
                    texts.append(event.text)
            made = await stream.get_final_message()
    return {
        "content": dump_blocks(made),
        "stop": made.stop_reason,
        "usage": made.usage.model_dump(exclude_none=True),
        "model": made.model,
        "texts": texts,
        "kinds": list(dict.fromkeys(kinds)),
    }


async def tool_runner(streams: bool) -> Any:
    """The package's own loop of a tool: it calls it, and asks again with the result."""
    client = open_client()

    @anthropic.beta_async_tool
    async def weather(city: str) -> str:
        """The weather of a city.

        Args:
            city: Its name.
        """
        return f"It rains in {city}."

    runner = client.beta.messages.tool_runner(
        model="m", max_tokens=1024, messages=HELLO, tools=[weather], stream=streams
    )
    seen = []
    async for answer in runner:
        made = await answer.get_final_message() if streams else answer
        seen.append([block.type for block in made.content])
    return seen


async def count() -> Any:
    client = open_client()
    counted = await client.messages.count_tokens(model="m", messages=HELLO, tools=[TOOL])
    return counted.input_tokens


async def models() -> Any:
    client = open_client()
    listed = [model async for model in client.models.list()]
    one = await client.models.retrieve("m")
    return {
        "ids": [model.id for model in listed],
        "types": sorted({model.type for model in listed}),
        "one": [one.id, one.display_name, one.created_at.year > 2000],
    }


async def errors() -> Any:
    """The classes and types of errors."""
    seen = []
    tries: Any = (
        (open_client(), {"model": "nothing", "max_tokens": 10, "messages": HELLO}),
        (open_client(), {"model": "m", "max_tokens": 10, "messages": []}),
        (
            anthropic.AsyncAnthropic(
                base_url=os.environ["BASE_URL"].removesuffix("/v1"), api_key="no", max_retries=0
            ),
            {"model": "m", "max_tokens": 10, "messages": HELLO},
        ),
        (open_client(), {"model": "m", "max_tokens": 10, "messages": HELLO}),
    )
    for client, fields in tries:
        try:
            await client.messages.create(**fields)
        except anthropic.APIStatusError as error:
            seen.append(
                [type(error).__name__, error.status_code, error.type, bool(error.request_id)]
            )
    return seen


async def thread() -> Any:
    """A thread is refused in the way that the package understands."""
    try:
        await open_client().beta.messages.create(
            model="m", max_tokens=10, messages=HELLO, thread={"type": "create"}
        )
    except anthropic.BadRequestError as error:
        return [type(error).__name__, error.error_code]
    return None


if __name__ == "__main__":
    cases = (message, tool_runner, count, models, errors, thread)
    asyncio.run(run_case({case.__name__: case for case in cases}))
