"""Tool calls that a model writes as words, and the caller who offers the tools."""

from proxysite.testing import speech
from proxysite.testing.upstream import DONE, send_reply, send_stream

LONG = "Tells the weather of a city. " + "It rains or it does not. " * 100 + "The last word."
CITY = {"type": "string", "description": "A city " * 200 + "of Austria"}
SCHEMA = {"type": "object", "properties": {"city": CITY}, "required": ["city"]}
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "description": LONG, "parameters": SCHEMA},
}
CLOCK = {"type": "function", "function": {"name": "clock", "description": "Tells the time."}}
TOOLS = [WEATHER, CLOCK]
CALL = '<tool_call>{"name": "weather", "arguments": {"city": "Graz"}}</tool_call>'
QUESTION = [{"role": "user", "content": "How is the weather?"}]


def send_text(text, streams, reasoning=None, usage=None, size=7):
    """Return the script of an answer, whole or in pieces of `size` characters."""
    thought = {"reasoning_content": reasoning} if reasoning else {}
    if not streams:
        return send_reply(
            speech.chat_completion(text, message=thought, usage=usage or speech.token_usage())
        )
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    thoughts = [speech.chat_chunk({"role": "assistant"} | thought)]
    end = [speech.chat_chunk(finish="stop"), speech.usage_chunk(usage)]
    return send_stream(
        *thoughts, *(speech.chat_chunk({"content": piece}) for piece in pieces), *end, DONE
    )


async def ask_client(client, streams, messages=QUESTION, **more):
    """Return the choice that the official client makes of the answer."""
    asked = {"model": "m", "messages": messages, "tools": TOOLS} | more
    if not streams:
        return (await client.chat.completions.create(**asked)).choices[0]
    async with client.chat.completions.stream(**asked) as answer:
        async for _ in answer:
            pass
        return (await answer.get_final_completion()).choices[0]
