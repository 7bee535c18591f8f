"""An upstream that does what a model is asked to do.

It calls the tools that it is given, keeps to a JSON schema, to limits and to stop texts, thinks
when asked to, and counts its words as tokens.
"""

import json
from typing import Any

from proxysite.testing import speech
from proxysite.testing.upstream import DONE, Exchange, send_reply, send_stream

WORDS = "One two three four five six seven eight nine ten."
THOUGHT = "Let me think."
ECHOED_LENGTH = 300  # characters of what it was told that it says again


def make_instance(schema: dict[str, Any]) -> Any:
    """Return a value that fits a JSON schema."""
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return make_instance(schema["anyOf"][0])
    kind = schema.get("type", "object")
    if isinstance(kind, list):
        kind = kind[0]
    if kind == "object":
        properties = schema.get("properties", {})
        return {name: make_instance(field) for name, field in properties.items()}
    if kind == "array":
        return [make_instance(schema.get("items", {"type": "string"}))]
    return {"string": "Paris", "integer": 7, "number": 7.5, "boolean": True}.get(kind)


def choose_calls(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the calls that a request wants: of the tool it names, of all with parallel calls, or
    of the first.
    """
    choice = body.get("tool_choice", "auto")
    tools = [tool["function"] for tool in body.get("tools") or []]
    if not tools or choice == "none" or body["messages"][-1]["role"] != "user":
        return []
    if isinstance(choice, dict):
        tools = [tool for tool in tools if tool["name"] == choice["function"]["name"]]
    elif body.get("parallel_tool_calls") is not True:
        tools = tools[:1]
    return [make_call(number, tool) for number, tool in enumerate(tools)]


def make_call(number: int, tool: dict[str, Any]) -> dict[str, Any]:
    arguments = json.dumps(make_instance(tool.get("parameters") or {}))
    function = {"name": tool["name"], "arguments": arguments}
    return {"id": f"call_{number}", "type": "function", "function": function}


def choose_text(body: dict[str, Any]) -> tuple[str, str]:
    """Return a text and the finish reason, within the limits of the request."""
    form = body.get("response_format") or {}
    told = " ".join(str(message.get("content")) for message in body["messages"])
    text = f"{WORDS} {told[-ECHOED_LENGTH:]}"
    if form.get("type") == "json_schema":
        text = json.dumps(make_instance(form["json_schema"]["schema"]))
    elif form.get("type") == "json_object":
        text = json.dumps({"city": "Paris", "answer": 4})
    stops = body.get("stop") or []
    for stop in [stops] if isinstance(stops, str) else stops:
        text = text.partition(stop)[0]
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    words = text.split(" ")
    if limit and len(words) > limit:
        return " ".join(words[:limit]), "length"
    return text, "stop"


def list_logprobs(body: dict[str, Any], text: str) -> dict[str, Any] | None:
    if not body.get("logprobs"):
        return None
    top = [{"token": "x", "logprob": -0.1, "bytes": None}] * (body.get("top_logprobs") or 0)
    one = {"logprob": -0.1, "bytes": None, "top_logprobs": top}
    return {"content": [{"token": word, **one} for word in text.split(" ")]}


async def answer_whole(exchange: Exchange, body: dict[str, Any]) -> None:
    calls = choose_calls(body)
    text, finish = choose_text(body)
    message: dict[str, Any] = {"tool_calls": calls} if calls else {}
    if wants_thinking(body):
        message["reasoning_content"] = THOUGHT
    content = None if calls else text
    completion = speech.chat_completion(
        content,
        n=body.get("n") or 1,
        finish="tool_calls" if calls else finish,
        message=message,
        usage=count_usage(body, text),
    )
    for choice in completion["choices"]:
        choice["logprobs"] = list_logprobs(body, text)
    await send_reply(completion)(exchange)


async def answer_streamed(exchange: Exchange, body: dict[str, Any]) -> None:
    calls = choose_calls(body)
    text, finish = choose_text(body)
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": None}]
    if wants_thinking(body):
        deltas.append({"reasoning_content": THOUGHT})
    if calls:
        deltas += [{"tool_calls": [{"index": at, **call}]} for at, call in enumerate(calls)]
    else:
        first, *others = text.split(" ")
        deltas += [{"content": first}, *({"content": f" {word}"} for word in others)]
    chunks = [speech.chat_chunk(delta) for delta in deltas]
    for chunk in chunks:
        (choice,) = chunk["choices"]
        if choice["delta"].get("content"):
            choice["logprobs"] = list_logprobs(body, choice["delta"]["content"].strip())
    chunks.append(speech.chat_chunk(finish="tool_calls" if calls else finish))
    if (body.get("stream_options") or {}).get("include_usage"):
        chunks.append(speech.usage_chunk(count_usage(body, text)))
    await send_stream(*chunks, DONE)(exchange)


def wants_thinking(body: dict[str, Any]) -> bool:
    return body.get("reasoning_effort") not in (None, "none")


def count_usage(body: dict[str, Any], text: str) -> dict[str, Any]:
    return speech.token_usage(len(json.dumps(body["messages"])) // 4, len(text.split(" ")))


async def answer_like_a_model(exchange: Exchange) -> None:
    """Answer one request; a script for `Upstream.set_default_script`."""
    body = exchange.request.json
    if exchange.request.path.endswith("/embeddings"):
        texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
        size = body.get("dimensions") or 4
        return await send_reply(speech.embedding_list(*[[size**-0.5] * size for _ in texts]))(
            exchange
        )
    if "messages" not in body:
        usage = speech.token_usage()
        return await send_reply(speech.text_completion(WORDS, usage=usage))(exchange)
    if body.get("stream"):
        return await answer_streamed(exchange, body)
    return await answer_whole(exchange, body)
