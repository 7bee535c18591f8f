"""Turn chat messages into Gemini's `systemInstruction` and `contents`. No I/O.

Roles: `user`, and `model` for the assistant. Results of tools are parts of a user's content, all of
one turn together. Instructions at the beginning become the system instruction; later ones stay
where they are, as a user's text, because Gemini has no other place for them.
"""

import orjson

from providers.adapters.gemini import signatures
from providers.adapters.gemini.content_parts import build_content_parts
from providers.protocol.json_types import JsonObject
from providers.protocol.message_text import SYSTEM_ROLES
from providers.wire.data_urls import as_text

RESULT_ROLES = ("tool", "function")
UNKNOWN_NAME = "unknown"


class ContentsBuilder:
    """The contents of one request, message by message.

    `signs_calls`: calls without a signature are refused. `takes_result_parts`: images may stand
    inside a tool's result, else they follow it.
    """

    def __init__(self, *, signs_calls: bool, takes_result_parts: bool) -> None:
        self._signs_calls = signs_calls
        self._takes_result_parts = takes_result_parts
        self._call_names: dict[str, str] = {}  # by the id of the call
        self._last_kind = ""
        self.system_parts: list[JsonObject] = []
        self.contents: list[JsonObject] = []

    def add_messages(self, messages: list[JsonObject]) -> None:
        """Add all messages in their order. Raises Rejected for content that Gemini cannot take."""
        for message in messages:
            self._add_message(message)
        if not self.contents and self.system_parts:  # a request needs contents
            self._add_parts("user", self.system_parts)
            self.system_parts = []

    def _add_message(self, message: JsonObject) -> None:
        """Add one message. Raises Rejected."""
        role = message["role"]
        if role in RESULT_ROLES:
            self._add_parts("result", self._build_result(message))
        elif role == "assistant":
            self._add_parts("model", self._build_answer(message))
        elif role in SYSTEM_ROLES and not self.contents:
            self.system_parts += build_content_parts(message.get("content"))
        else:
            self._add_parts("user", build_content_parts(message.get("content")))

    def _add_parts(self, kind: str, parts: list[JsonObject]) -> None:
        """Add parts to the last content if it is of the same kind, else as a new one."""
        if not parts:
            return
        if kind == self._last_kind:
            self.contents[-1]["parts"] += parts
            return
        self._last_kind = kind
        role = "model" if kind == "model" else "user"
        self.contents.append({"role": role, "parts": list(parts)})

    # --- answers of the model ---------------------------------------------------------------------
    def _build_answer(self, message: JsonObject) -> list[JsonObject]:
        """Return the parts of an assistant's message: texts, then calls, with their signatures."""
        parts = build_content_parts(message.get("content") or message.get("refusal"))
        signed = signatures.read_detail_signatures(message)
        if signature := signed.get(""):
            *earlier_parts, last_part = parts or [{"text": ""}]
            parts = [*earlier_parts, last_part | {"thoughtSignature": signature}]
        calls = message.get("tool_calls") or []
        if isinstance(message.get("function_call"), dict):
            calls = [*calls, {"function": message["function_call"]}]
        call_parts = [self._build_call(call, signed) for call in calls]
        if call_parts and self._signs_calls:
            call_parts[0].setdefault("thoughtSignature", signatures.UNSIGNED)
        return parts + call_parts

    def _build_call(self, call: JsonObject, signed: dict[str, str]) -> JsonObject:
        """Return the part of one call, and keep the name for its result."""
        call_id = as_text(call.get("id"))
        function = call.get("function") or call.get("custom") or {}
        name = as_text(function.get("name")) or UNKNOWN_NAME
        self._call_names[call_id] = name
        fields: JsonObject = {"name": name, "args": read_arguments(function)}
        if call_id:
            fields["id"] = call_id
        part: JsonObject = {"functionCall": fields}
        if signature := signatures.read_call_signature(call) or (call_id and signed.get(call_id)):
            part["thoughtSignature"] = signature
        return part

    # --- results of tools -------------------------------------------------------------------------
    def _build_result(self, message: JsonObject) -> list[JsonObject]:
        """Return the part of a tool's result; images and files are inside it or follow it."""
        call_id = as_text(message.get("tool_call_id"))
        name = self._call_names.get(call_id) or as_text(message.get("name")) or UNKNOWN_NAME
        parts = build_content_parts(message.get("content"))
        text = "".join(part["text"] for part in parts if "text" in part)
        media = [part for part in parts if "text" not in part]
        fields: JsonObject = {"name": name, "response": {"output": text}}
        if call_id:
            fields["id"] = call_id
        if media and self._takes_result_parts:
            fields["parts"] = media
            media = []
        return [{"functionResponse": fields}, *media]


def read_arguments(function: JsonObject) -> JsonObject:
    """Return the arguments of a call as an object; a text that is none stands in a field."""
    if "input" in function:
        return {"input": function["input"]}
    text = function.get("arguments") or "{}"
    try:
        value = orjson.loads(text) if isinstance(text, str) else text
    except orjson.JSONDecodeError:
        value = text
    return value if isinstance(value, dict) else {"input": value}
