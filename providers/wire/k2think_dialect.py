"""The messages of K2-Think's site: request fields down, events of a stream up. No I/O.

Messages have the roles system, user and assistant; the content is text, or a list of parts if there
is more than text. Events are {"content"} or {"choices": [{"delta": {"content"}}]}, both with all of
the text so far, {"usage"}, {"done"}; a bare word may end the answer too. Source: published clients
of the site; the meaning of the stream in three of them.
"""

from datetime import datetime

from providers.exceptions import ModelMissing, TokenError, UpstreamError
from providers.filters.prompted_tools.tool_request import render_tool_history
from providers.protocol.chunks import Chunk, make_delta, make_usage_chunk
from providers.protocol.json_types import JsonObject
from providers.protocol.message_text import join_contents, join_texts
from providers.protocol.request import ChatRequest, Credential, UpstreamModel
from providers.upstream.error_mapping import ERROR_CODES, find_error_object, map_error_answer
from providers.wire.json_reader import read_raw_json
from providers.wire.snapshots import NewText, SnapshotReader

END_MARKERS = (b"[DONE]", b"DONE", b"done", b"-1")


# --- down -----------------------------------------------------------------------------------------
def build_site_messages(chat_messages: list[JsonObject], *, is_guest: bool) -> list[JsonObject]:
    """Return the conversation in the site's form, with tool calls and results in words.

    Guests have no system messages: these are put in front of the first user message.
    """
    messages = [
        {"role": translate_role(message), "content": translate_content(message)}
        for message in render_tool_history(chat_messages)
    ]
    if is_guest:
        return merge_system_messages(messages)
    return messages


def merge_system_messages(messages: list[JsonObject]) -> list[JsonObject]:
    """Put the system messages in front of the first user message, or after all as a new one."""
    instructions = [message["content"] for message in messages if message["role"] == "system"]
    chat = [message for message in messages if message["role"] != "system"]
    if not instructions:
        return chat
    for message in chat:
        if message["role"] == "user":
            message["content"] = join_contents([*instructions, message["content"]])
            return chat
    return [*chat, {"role": "user", "content": join_contents(instructions)}]


def translate_role(message: JsonObject) -> str:
    """Return the role of a message in the site's form."""
    return "system" if message["role"] == "developer" else str(message["role"])


def translate_content(message: JsonObject) -> str | list[JsonObject]:
    """Return a message's content: text where all is text, else the parts, images as objects."""
    content = message.get("content") or message.get("refusal") or ""
    if isinstance(content, str) or all(part["type"] in ("text", "refusal") for part in content):
        return join_texts(content)
    return [translate_part(part) for part in content]


def translate_part(part: JsonObject) -> JsonObject:
    """Return a content part; the URL of an image becomes an object."""
    if isinstance(part.get("image_url"), str):
        return part | {"image_url": {"url": part["image_url"]}}
    return part


def build_prompt_variables(now: datetime) -> dict[str, str]:
    """Return the values that the site fills into its prompts."""
    return {
        "{{USER_NAME}}": "User",
        "{{USER_LOCATION}}": "Unknown",
        "{{CURRENT_DATETIME}}": f"{now:%Y-%m-%d %H:%M:%S}",
        "{{CURRENT_DATE}}": f"{now:%Y-%m-%d}",
        "{{CURRENT_TIME}}": f"{now:%H:%M:%S}",
        "{{CURRENT_WEEKDAY}}": f"{now:%A}",
        "{{CURRENT_TIMEZONE}}": "UTC",
        "{{USER_LANGUAGE}}": "en-US",
    }


def build_model_item(model: UpstreamModel) -> JsonObject:
    """Return the model as a request names it."""
    fixed = {
        "object": "model",
        "owned_by": "MBZUAI",
        "parent": None,
        "status": "active",
        "connection_type": "external",
    }
    return {
        "id": model.name,
        "name": model.name,
        "root": model.options.get("root", model.name),
        **fixed,
    }


# --- up -------------------------------------------------------------------------------------------
def detect_missing_model(error: UpstreamError) -> UpstreamError:
    """Return ModelMissing if the message says "model not found", else the error itself.

    The site answers a request for a model that it no longer has with a bad request.
    """
    if (
        isinstance(error, ModelMissing | TokenError)
        or "model not found" not in error.message.lower()
    ):
        return error
    return replace_error(error, ModelMissing(error.message))


def replace_error(error: UpstreamError, replacement: UpstreamError) -> UpstreamError:
    """Return the replacement with the upstream's status of the error."""
    replacement.upstream_status = error.upstream_status
    return replacement


class K2ThinkAnswer:
    """The dialect of one streamed answer."""

    def __init__(self, request: ChatRequest, credential: Credential) -> None:
        self._request = request
        self._secret = credential.secret
        self._snapshot_reader = SnapshotReader()
        self._has_ended = False
        self.over = False

    def read(self, data: bytes) -> list[Chunk]:
        data = data.strip()
        if not data:
            return []
        if data.strip(b'"') in END_MARKERS:
            self.over = True
            return self._end_answer()
        event = read_raw_json(data)
        if not isinstance(event, dict):
            raise ValueError("no object")
        self._raise_event_error(event)
        text, reason = read_text_and_reason(event)
        self.over = event.get("done") is True
        chunks: list[Chunk] = []
        if text and not self._has_ended:
            chunks = self._build_deltas(self._snapshot_reader.read_snapshot(text))
        if self.over or reason:
            chunks += self._end_answer(reason or "stop")
        if isinstance(event.get("usage"), dict):
            chunks.append(make_usage_chunk(self._request, event["usage"]))
        return chunks

    def close(self) -> list[Chunk]:
        return []  # an answer without an end was cut

    def _raise_event_error(self, event: JsonObject) -> None:
        """Raise the error of an event, if it is one."""
        if not event.get("error") and not event.keys().isdisjoint(("choices", "content")):
            return
        error = find_error_object(event)
        if error:
            status = error.get("status_code")
            raise detect_missing_model(
                map_error_answer(ERROR_CODES, status, error, {}, secret=self._secret)
            )

    def _build_deltas(self, new_text: NewText) -> list[Chunk]:
        fields = {"reasoning_content": new_text.thinking, "content": new_text.answer}
        return [make_delta(self._request, **{name: text}) for name, text in fields.items() if text]

    def _end_answer(self, reason: str = "stop") -> list[Chunk]:
        if self._has_ended:
            return []
        self._has_ended = True
        return [
            *self._build_deltas(self._snapshot_reader.finish_text()),
            make_delta(self._request, finish_reason=reason),
        ]


def read_text_and_reason(event: JsonObject) -> tuple[str | None, str | None]:
    """Return the text and the finish reason of an event. Raises ValueError if they are not text."""
    text = event.get("content")
    reason = None
    choices = event.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        delta = choices[0].get("delta")
        if isinstance(delta, dict):
            text = delta.get("content")
        reason = choices[0].get("finish_reason")
    if not isinstance(text, str | None) or not isinstance(reason, str | None):
        raise ValueError("no text")
    return text, reason
