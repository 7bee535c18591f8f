"""What Pydantic AI makes of a gateway: an agent with a tool, over chat completions or responses."""

import asyncio
import os
from typing import Any

from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider
from running import run_case

PROVIDER = OpenAIProvider(base_url=os.environ["BASE_URL"], api_key=os.environ["API_KEY"])


class City(BaseModel):
    """A city."""

    name: str
    people: int


def weather(city: str) -> str:
    """The weather of a city."""
    return f"It rains in {city}."


def make_model(way: str) -> Any:
    model_class = OpenAIResponsesModel if way == "responses" else OpenAIChatModel
    return model_class("m", provider=PROVIDER)


async def chat(way: str, streams: bool, *questions: str) -> Any:
    """Several turns of one agent; the messages of each are put behind those before."""
    agent = Agent(make_model(way), instructions="Brief.", tools=[weather])
    messages: list[Any] = []
    seen = []
    for question in questions:
        if streams:
            async with agent.run_stream(question, message_history=messages) as answer:
                text = await answer.get_output()
        else:
            answer = await agent.run(question, message_history=messages)
            text = answer.output
        messages = answer.all_messages()
        usage = answer.usage() if callable(answer.usage) else answer.usage
        seen.append({"text": text, "tokens": [usage.input_tokens, usage.output_tokens]})
    kinds = [part.part_kind for message in messages for part in message.parts]
    return {"turns": seen, "kinds": kinds}


async def structure(way: str, method: str) -> Any:
    """An object: by a call of a function, or by a JSON schema."""
    output = NativeOutput(City) if method == "native" else City
    answer = await Agent(make_model(way), output_type=output).run("Which city?")
    return answer.output.model_dump()


if __name__ == "__main__":
    asyncio.run(run_case({"chat": chat, "structure": structure}))
