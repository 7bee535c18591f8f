"""The renderer of chat answers: chunks become SSE lines or one JSON object.

All lines of an answer have the same id, model and time. `usage` appears only when the caller asked
for it. Source: OpenAI's API reference, "Streaming events".
"""

import time

import orjson

from api import exceptions
from providers.protocol.chunks import Chunk
from providers.protocol.json_types import JsonObject
from providers.protocol.request import CHAT, COMPLETIONS, EMBEDDINGS
from providers.protocol.trace import Trace
from providers.wire.sse import DONE_EVENT, PING

# counts of usage that embeddings do not have
CHAT_COUNTS = ("completion_tokens", "completion_tokens_details", "prompt_tokens_details")
FINGERPRINT = "system_fingerprint"
ANNOTATIONS = "annotations"
ANSWER_ID_PREFIXES = {CHAT: "chatcmpl-", COMPLETIONS: "cmpl-"}
OBJECT_NAMES = {
    (CHAT, False): "chat.completion",
    (CHAT, True): "chat.completion.chunk",
    (COMPLETIONS, False): "text_completion",
    (COMPLETIONS, True): "text_completion",
    (EMBEDDINGS, False): "list",
}


class ChatRenderer:
    """The renderer of one answer, with the extra fields `extra_fields`.

    The answer's id contains the request's id, so that a caller can find its usage record.
    """

    __slots__ = ("_base", "_drops_fingerprint", "_include_usage", "_trace")
    render_failure = staticmethod(
        exceptions.render_error_event
    )  # the end of an answer that broke off after it had begun
    render_error = staticmethod(exceptions.render_error)

    def __init__(self, trace: Trace, extra_fields: JsonObject | None = None) -> None:
        request = trace.request
        self._trace = trace
        self._include_usage = request.include_usage
        # the upstream has no fingerprint, as its first chunk shows; None before that
        self._drops_fingerprint: bool | None = None
        self._base: JsonObject = {
            "model": request.model,
            "object": OBJECT_NAMES[request.endpoint, request.stream],
        }
        if request.endpoint != EMBEDDINGS:
            self._base["id"] = ANSWER_ID_PREFIXES[request.endpoint] + request.id
            self._base["created"] = int(time.time())
        if extra_fields:
            self._base.update(extra_fields)

    def render_batch(self, batch: list[Chunk]) -> bytes:
        """Return the SSE lines of one batch; usage is left out until the end."""
        base = self._base
        parts = []
        for chunk in batch:
            usage = chunk.pop("usage", None)
            if chunk["choices"] or usage is None:
                chunk.update(base)
                if self._drops_fingerprint is None:
                    self._drops_fingerprint = is_null(chunk, FINGERPRINT)
                if self._drops_fingerprint:
                    chunk.pop(FINGERPRINT, None)
                if self._include_usage:
                    chunk["usage"] = None
                parts.append(b"data: %b\n\n" % orjson.dumps(chunk))
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def render_end(self) -> bytes:
        """Return the lines after the last chunk: usage if asked for, then [DONE]."""
        if not self._include_usage:
            return DONE_EVENT
        chunk = {**self._base, "choices": [], "usage": self._build_usage()}
        return b"data: %b\n\n%b" % (orjson.dumps(chunk), DONE_EVENT)

    def render_ping(self) -> bytes:
        """Return a comment, which every client passes over."""
        return PING

    def render_whole(self, answer: Chunk) -> bytes:
        """Return the JSON body of an answer that does not stream; it must have been counted."""
        answer.update(self._base)
        drop_optional_nulls(answer)
        answer["usage"] = self._build_usage()
        return orjson.dumps(answer)

    def _build_usage(self) -> JsonObject:
        """Return the usage that the ledger recorded."""
        usage = self._trace.meter.as_openai() or {}
        if self._trace.request.endpoint != EMBEDDINGS:
            return usage
        return {name: usage[name] for name in usage if name not in CHAT_COUNTS}


def drop_optional_nulls(answer: Chunk) -> None:
    """Leave out the optional fields of a whole answer that are null, which OpenAI never sends."""
    if is_null(answer, FINGERPRINT):
        del answer[FINGERPRINT]
    for choice in answer.get("choices", ()):
        message = choice.get("message")
        if message and is_null(message, ANNOTATIONS):
            del message[ANNOTATIONS]


def is_null(fields: JsonObject, name: str) -> bool:
    """Return whether the field is there, and null."""
    return name in fields and fields[name] is None
