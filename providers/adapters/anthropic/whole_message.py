"""Read whole answers of the Messages API, their usage and stop reasons, in OpenAI's schema. No I/O.

Source: Anthropic's API reference, "Messages", "Handling stop reasons", "Prompt caching".
"""

from typing import Any

import orjson

from providers.exceptions import BadResponse
from providers.protocol.chunks import Chunk, make_completion
from providers.protocol.json_types import JsonObject
from providers.protocol.request import ChatRequest
from providers.protocol.usage_meter import TokenUsage, parse_count

THINKING_FORMAT = "anthropic-claude-v1"  # OpenRouter's name of the format of reasoning details
FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
}
REFUSAL_TEXT = "The model declined to answer."


def choose_finish_reason(stop_reason: object) -> str:
    """Return OpenAI's finish reason for a stop reason; an unknown one is "stop"."""
    return FINISH_REASONS.get(str(stop_reason), "stop")


def read_refusal_text(stop_details: object) -> str:
    """Return the explanation of a refusal, or a sentence that says that it is one."""
    explanation = stop_details.get("explanation") if isinstance(stop_details, dict) else None
    return explanation if isinstance(explanation, str) and explanation else REFUSAL_TEXT


def convert_usage(usage: object) -> JsonObject | None:
    """Return usage in OpenAI's form, in which prompt tokens include those of the cache.

    None when it has no plausible counts. The uses of server tools are passed on.
    """
    if not isinstance(usage, dict):
        return None
    fresh = parse_count(usage.get("input_tokens"))
    completion = parse_count(usage.get("output_tokens"))
    if fresh is None or completion is None:
        return None
    cached = parse_count(usage.get("cache_read_input_tokens")) or 0
    written = parse_count(usage.get("cache_creation_input_tokens")) or 0
    details = usage.get("output_tokens_details")
    thinking = parse_count(details.get("thinking_tokens")) if isinstance(details, dict) else None
    counts = TokenUsage(
        prompt=fresh + cached + written,
        completion=completion,
        reasoning=thinking or 0,
        cached=cached,
        cache_write=written,
    ).as_openai()
    if isinstance(usage.get("server_tool_use"), dict):
        counts["server_tool_use"] = usage["server_tool_use"]
    return counts


def make_thinking_detail(index: int, text: str | None, signature: str | None) -> JsonObject:
    """Return a piece of `reasoning_details`: a text, a signature, or both."""
    detail: JsonObject = {"type": "reasoning.text"}
    if text is not None:
        detail["text"] = text
    if signature is not None:
        detail["signature"] = signature
    return detail | {"format": THINKING_FORMAT, "index": index}


def make_redacted_detail(index: int, data: object) -> JsonObject:
    """Return redacted thinking as one of `reasoning_details`."""
    return {
        "type": "reasoning.encrypted",
        "data": data,
        "format": THINKING_FORMAT,
        "index": index,
    }


def make_url_annotation(citation: object, start: int, end: int) -> JsonObject | None:
    """Return the annotation of a web citation for the characters from `start` to before `end`.

    None for a citation of a document, which has no address.
    """
    if not isinstance(citation, dict):
        return None
    url = citation.get("url")
    if not isinstance(url, str) or not url.startswith(("http://", "https://")):
        return None
    title = citation.get("title") or url
    reference = {"start_index": start, "end_index": end, "url": url, "title": title}
    return {"type": "url_citation", "url_citation": reference}


class MessageFolder:
    """The parts of an OpenAI message, gathered from the content blocks of a whole answer."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.thoughts: list[str] = []
        self.details: list[JsonObject] = []
        self.calls: list[JsonObject] = []
        self.annotations: list[JsonObject] = []

    def add_block(self, block: Any) -> None:
        """Add a content block; those of tools that ran at the upstream are left out."""
        kind = block.get("type") if isinstance(block, dict) else None
        if kind == "text":
            self._add_text(str(block.get("text") or ""), block.get("citations"))
        elif kind == "thinking":
            thought = str(block.get("thinking") or "")
            self.thoughts.append(thought)
            signature = block.get("signature")
            self.details.append(make_thinking_detail(len(self.details), thought, signature))
        elif kind == "redacted_thinking":
            self.details.append(make_redacted_detail(len(self.details), block.get("data")))
        elif kind == "tool_use":
            function = {"name": block.get("name"), "arguments": dump_input(block.get("input"))}
            self.calls.append({"id": block.get("id"), "type": "function", "function": function})

    def _add_text(self, text: str, citations: object) -> None:
        """Add a text with its citations."""
        start = sum(map(len, self.texts))
        self.texts.append(text)
        for citation in citations if isinstance(citations, list) else ():
            if annotation := make_url_annotation(citation, start, start + len(text)):
                self.annotations.append(annotation)

    def build_message(self) -> JsonObject:
        """Return the message with the fields that have something in them."""
        message: JsonObject = {"content": "".join(self.texts) or None}
        if any(self.thoughts):
            message["reasoning_content"] = "".join(self.thoughts)
        if self.details:
            message["reasoning_details"] = self.details
        if self.calls:
            message["tool_calls"] = self.calls
        if self.annotations:
            message["annotations"] = self.annotations
        return message


def dump_input(value: object) -> str:
    """Return the input of a tool call as the JSON text that OpenAI has."""
    return orjson.dumps({} if value is None else value).decode()


def convert_message(request: ChatRequest, answer: JsonObject) -> Chunk:
    """Return a whole Message as a chat completion. Raises BadResponse when it is none."""
    blocks = answer.get("content")
    if not isinstance(blocks, list) or answer.get("stop_reason") is None:
        raise BadResponse("The upstream's answer has no content.")
    folder = MessageFolder()
    for block in blocks:
        folder.add_block(block)
    message = folder.build_message()
    if answer["stop_reason"] == "refusal":
        message["refusal"] = read_refusal_text(answer.get("stop_details"))
    if message["content"] is None and not (folder.calls or "refusal" in message):
        message["content"] = ""
    reason = choose_finish_reason(answer["stop_reason"])
    return make_completion(request, message, convert_usage(answer.get("usage")), reason)
