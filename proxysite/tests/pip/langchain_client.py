"""What LangChain makes of a gateway: an agent with a tool, over chat completions or responses."""

import asyncio
import os
from typing import Any

from langchain.agents import create_agent
from langchain.embeddings import init_embeddings
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel
from running import run_case

BASE_URL = os.environ["BASE_URL"]
API_KEY = os.environ["API_KEY"]


class City(BaseModel):
    """A city."""

    name: str
    people: int


@tool
def weather(city: str) -> str:
    """The weather of a city."""
    return f"It rains in {city}."


def make_model(way: str, *, streams: bool = False) -> ChatOpenAI:
    return ChatOpenAI(
        model="m",
        base_url=BASE_URL,
        api_key=API_KEY,
        max_retries=0,
        streaming=streams,
        stream_usage=True,  # away from OpenAI's own address it asks for none
        use_responses_api=way == "responses",
    )


async def chat(way: str, streams: bool, *questions: str) -> Any:
    """Several turns of one agent; the messages of each are put behind those before."""
    agent = create_agent(make_model(way, streams=streams), tools=[weather], system_prompt="Brief.")
    messages: list[Any] = []
    seen = []
    for question in questions:
        state = await agent.ainvoke({"messages": [*messages, ("user", question)]})
        messages = state["messages"]
        seen.append({"text": messages[-1].text, "usage": messages[-1].usage_metadata})
    return {"turns": seen, "kinds": [message.type for message in messages]}


async def stream(way: str, question: str) -> Any:
    """The pieces of text in which an answer comes."""
    return [chunk.text async for chunk in make_model(way, streams=True).astream(question)]


async def structure(way: str, method: str) -> Any:
    model = make_model(way).with_structured_output(City, method=method)
    return (await model.ainvoke("Which city?")).model_dump()


async def embed(*texts: str) -> Any:
    # without the check it asks with tokens of a tokenizer that it would download
    model = init_embeddings(
        "openai:m", base_url=BASE_URL, api_key=API_KEY, check_embedding_ctx_length=False
    )
    return await model.aembed_documents(list(texts))


if __name__ == "__main__":
    cases = {"chat": chat, "stream": stream, "structure": structure, "embed": embed}
    asyncio.run(run_case(cases))
