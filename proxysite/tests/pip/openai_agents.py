"""What the OpenAI Agents SDK makes of a gateway: `python openai_agents.py CASE` reads its arguments
as one JSON array from standard input, prints one line of JSON with what a program would have seen,
and ends when standard input does.
"""

import asyncio
import json
import logging
import os
import sys
from collections.abc import AsyncIterator
from typing import Any

import openai
from agents import (
    Agent,
    ItemHelpers,
    ModelSettings,
    OpenAIConversationsSession,
    Runner,
    WebSearchTool,
    function_tool,
    set_default_openai_client,
    set_tracing_disabled,
)
from openai.types.shared import Reasoning
from pydantic import BaseModel

client = openai.AsyncOpenAI(
    base_url=os.environ["BASE_URL"], api_key=os.environ["API_KEY"], max_retries=0
)
set_default_openai_client(client)
set_tracing_disabled(disabled=True)
logging.getLogger("openai.agents").setLevel(
    logging.CRITICAL
)  # it tells of the errors that it raises
MODEL = os.environ.get("MODEL", "m")


class City(BaseModel):
    name: str
    people: int


@function_tool
def weather(city: str) -> str:
    """The weather of a city."""
    return f"It rains in {city}."


def agent(**more: Any) -> Agent[Any]:
    return Agent(name="Assistant", instructions="Be brief.", model=MODEL, **more)


async def place(kept: str) -> dict[str, Any]:
    """How a run is told to keep what is said."""
    if kept == "session":
        return {"session": OpenAIConversationsSession()}
    if kept == "conversation":
        return {"conversation_id": (await client.conversations.create()).id}
    return {"auto_previous_response_id": True} if kept == "previous" else {}


async def run(
    questions: list[str], kept: str = "items", *, streamed: bool = False, store: bool = True
) -> Any:
    """Several turns with a tool; without a place the program keeps the items itself."""
    where = await place(kept)
    settings = ModelSettings(store=store)
    heard, kinds, items = [], [], []
    for question in questions:
        asked = [*items, {"role": "user", "content": question}] if kept == "items" else question
        if streamed:
            result = Runner.run_streamed(
                agent(tools=[weather], model_settings=settings), asked, **where
            )
            kinds += [event.type async for event in result.stream_events()]
        else:
            result = await Runner.run(
                agent(tools=[weather], model_settings=settings), asked, **where
            )
        items = result.to_input_list()
        heard.append(result.final_output)
        if kept == "previous":
            where["previous_response_id"] = result.last_response_id
    return {
        "heard": heard,
        "kinds": sorted(set(kinds)),
        "usage": result.context_wrapper.usage.requests,
    }


async def deltas() -> Any:
    result = Runner.run_streamed(agent(), "Hello!")
    raw = [
        event.data async for event in result.stream_events() if event.type == "raw_response_event"
    ]
    return {
        "deltas": [event.delta for event in raw if event.type == "response.output_text.delta"],
        "output": result.final_output,
        "tokens": result.context_wrapper.usage.total_tokens,
    }


async def reasoning(*, summary: bool) -> Any:
    asked = Reasoning(effort="low", summary="auto") if summary else Reasoning(effort="low")
    result = await Runner.run(agent(model_settings=ModelSettings(reasoning=asked)), "Hello!")
    items = [item.raw_item for item in result.new_items if item.type == "reasoning_item"]
    return {
        "output": result.final_output,
        "items": [item.model_dump(exclude_none=True) for item in items],
    }


async def handoff(*, streamed: bool) -> Any:
    spanish = Agent(
        name="Spanish agent",
        instructions="Speak Spanish.",
        model=MODEL,
        handoff_description="Spanish",
    )
    triage = agent(handoffs=[spanish])
    if not streamed:
        result = await Runner.run(triage, "Hola")
        return {"output": result.final_output, "agent": result.last_agent.name}
    running = Runner.run_streamed(triage, "Hola")
    names = [
        event.new_agent.name
        async for event in running.stream_events()
        if event.type == "agent_updated_stream_event"
    ]
    return {"output": running.final_output, "agent": names[-1]}


async def structured() -> Any:
    result = await Runner.run(agent(output_type=City), "Which city?")
    assert isinstance(result.final_output, City)
    return result.final_output.model_dump()


async def session() -> Any:
    kept = OpenAIConversationsSession()
    await Runner.run(agent(tools=[weather]), "Weather?", session=kept)
    items: list[Any] = await kept.get_items()
    last: Any = await kept.pop_item()
    some = await kept.get_items(limit=1)
    await kept.add_items([{"role": "user", "content": f"{number}"} for number in range(25)])
    many = len(await kept.get_items())
    name = kept.session_id
    await kept.clear_session()
    try:
        await client.conversations.retrieve(name)
    except openai.NotFoundError as error:
        gone = error.code
    return {"items": items, "last": last, "some": some, "many": many, "gone": gone}


async def agents_as_tools() -> Any:
    spanish = Agent(name="Spanish agent", instructions="Translate.", model=MODEL)
    tool = spanish.as_tool(tool_name="to_spanish", tool_description="Translate to Spanish")
    result = await Runner.run(agent(tools=[tool]), "Say good morning in Spanish.")
    return {
        "output": result.final_output,
        "said": ItemHelpers.text_message_outputs(result.new_items),
    }


async def search() -> Any:
    result = await Runner.run(
        agent(tools=[WebSearchTool(search_context_size="low"), weather]), "Weather?"
    )
    message = next(item.raw_item for item in result.new_items if item.type == "message_output_item")
    return [annotation.model_dump() for annotation in message.content[0].annotations]


async def error(**more: Any) -> Any:
    try:
        if more.get("streamed"):
            running = Runner.run_streamed(agent(), "Hello!")
            async for _ in running.stream_events():
                pass
        else:
            await Runner.run(agent(), "Hello!", previous_response_id=more.get("previous"))
    except openai.APIStatusError as caught:
        return {
            "kind": type(caught).__name__,
            "status": caught.status_code,
            "code": caught.code,
            "param": caught.param,
        }
    except Exception as caught:  # noqa: BLE001 - which one it is, is what the test asks
        return {"kind": type(caught).__name__, "message": str(caught)}
    return None


async def lines() -> AsyncIterator[str]:
    while line := await asyncio.to_thread(sys.stdin.readline):
        yield line


async def main() -> None:
    given = lines()
    arguments = json.loads(await anext(given))
    named = arguments.pop() if arguments and isinstance(arguments[-1], dict) else {}
    seen = await globals()[sys.argv[1]](*arguments, **named)
    print(json.dumps(seen), flush=True)  # noqa: T201
    async for _ in given:
        pass


asyncio.run(main())
