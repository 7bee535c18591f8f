"""Makers of Messages bodies, and their chat bodies."""

import orjson

from api.messages.request.body_shape import read_messages_body
from api.messages.request.chat_body import build_chat_form

CALL = {"type": "tool_use", "id": "t1", "name": "look", "input": {"at": "x"}}
TOOL = {"name": "look", "description": "Look.", "input_schema": {"type": "object"}}
MARK = {"type": "ephemeral"}


def read_body(**fields):
    hello = [{"role": "user", "content": "Hello!"}]
    body = {"model": "m", "max_tokens": 2048, "messages": hello} | fields
    return read_messages_body(orjson.dumps(body))


def convert(**fields):
    return build_chat_form(read_body(**fields)).body


def convert_messages(*messages, **fields):
    return convert(messages=list(messages), **fields)["messages"]


def user(*blocks):
    return {"role": "user", "content": list(blocks)}


def model(*blocks):
    return {"role": "assistant", "content": list(blocks)}


def text(value, **fields):
    return {"type": "text", "text": value} | fields


def result(content="found", call_id="t1", **fields):
    return {"type": "tool_result", "tool_use_id": call_id, "content": content} | fields


ASK = user(text("Look."))
