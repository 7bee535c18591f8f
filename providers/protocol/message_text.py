"""Read and join the text of chat messages. No I/O.

A message's content is a string, a list of parts, or None. A part of any type has its text in
`text`: `text` in a chat message, `input_text` or `output_text` in an item of a response, `file`
with the text that was extracted from the file (`filters/file_parts.py`). A part of the type
`refusal` has it in `refusal`. Source: OpenAI's API reference, "Chat completions" and "Responses".
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from providers.protocol.json_types import JsonObject

Content = str | list[JsonObject]

SYSTEM_ROLES = ("system", "developer")  # "developer" is OpenAI's newer name for "system"


def list_prompt_texts(body: Mapping[str, Any]) -> list[str]:
    """List all texts of a chat body that a model reads.

    These are the texts of the messages and of the tool calls in them, and as JSON the tools and the
    schema of the answer.
    """
    texts: list[str] = []
    for message in body.get("messages") or ():
        texts += list_texts(message.get("content"))
        for call in message.get("tool_calls") or ():
            texts.append(render_json(call.get("function", "")))
    for name in ("tools", "functions"):
        if body.get(name):
            texts.append(render_json(body[name]))
    schema = (body.get("response_format") or {}).get("json_schema")
    if schema:
        texts.append(render_json(schema))
    return texts


def render_json(value: object) -> str:
    """Render a value as JSON, as a model reads it; values that JSON cannot hold as `str` does."""
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        return str(value)


def list_texts(content: object) -> list[str]:
    """List the texts of a content, also those of files and refusals; skip parts without text."""
    if isinstance(content, str):
        return [content]
    if not isinstance(content, list):
        return []
    texts = (part.get("text") or part.get("refusal") for part in content)
    return [text for text in texts if isinstance(text, str) and text]


def join_texts(content: object) -> str:
    """Join the texts of a content with line ends."""
    return content if isinstance(content, str) else "\n".join(list_texts(content))


def join_typed_texts(content: object) -> str:
    """Join the text parts of a content: the text that the sender typed, without files."""
    if isinstance(content, list):
        content = [part for part in content if part.get("type") == "text"]
    return join_texts(content)


def join_contents(contents: Sequence[Content]) -> Content:
    """Join contents one after the other, with a blank line between texts.

    Returns a string when all contents are strings, else a list of parts.
    """
    filled = [content for content in contents if content]
    if all(isinstance(content, str) for content in filled):
        return "\n\n".join(map(str, filled))
    parts: list[JsonObject] = []
    for content in filled:
        if isinstance(content, str):
            parts.append({"type": "text", "text": content})
        else:
            parts += content
    return parts
