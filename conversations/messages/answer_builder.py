"""Collect the chunks of an answer, and turn them into items when it has ended.

The chunks are streamed or one whole answer. A part becomes one item (reasoning, text or one call);
the parts are in the order in which they began. Texts are kept as lists of pieces, so that a reader
can continue from its place in each.
"""

from collections.abc import Iterable

import orjson
from django.conf import settings
from msgspec import Struct, field

from conversations.messages import items, items_to_chat
from conversations.messages.custom_input import read_custom_input
from conversations.messages.items import Entry
from conversations.messages.items_to_chat import SAME_NAMES
from conversations.messages.tool_names import CalledTool, ToolNames
from providers.filters.answer_folder import add_detail_pieces
from providers.filters.native_calls import CONTENT_FIELDS, find_kind
from providers.protocol.chunks import ANSWER_PIECES, SERVER_ITEM, Chunk
from providers.protocol.json_types import JsonObject

# the usual fields of a chunk; all others are kept as extras
OPENAI_CHUNK_FIELDS = frozenset(
    """
    id object created model choices usage service_tier system_fingerprint obfuscation time_info
    status timings provider x_groq metadata
    """.split()
)
IN_PROGRESS = "in_progress"
PIECE_BYTES = 64  # of a piece of text, in addition to its characters
PART_BYTES = 1_024  # of a part, in addition to its pieces


class AnswerPart(Struct):
    """One item of an answer that is still coming in.

    `request_hex` and `position` make its id. `call_kind` is "custom" for a call of an upstream
    that knows custom tools: `arguments` are its input then.
    """

    type: str  # reasoning, message, function_call, compaction, or one of SERVER_ITEM_TYPES
    request_hex: str
    position: int
    text: list[str] = field(default_factory=list)
    refusal: list[str] = field(default_factory=list)
    annotations: list[JsonObject] = field(default_factory=list)
    logprobs: list[JsonObject] = field(default_factory=list)
    name: str = ""
    call_id: str = ""
    arguments: list[str] = field(default_factory=list)
    call_kind: str = "function"
    call_extras: JsonObject = field(default_factory=dict)  # fields that the upstream wants back
    tool_names: ToolNames = SAME_NAMES
    server_item: JsonObject | None = None  # of a tool that the gateway runs
    server_status: str = ""  # of that item

    @property
    def id(self) -> str:
        """Return the id of the item; a call has its final one when its name is complete."""
        kind = self.type
        if kind == "function_call" and self.called_tool.kind == "custom":
            kind = "custom_tool_call"
        return items.make_public_id(kind, self.request_hex, self.position)

    @property
    def called_tool(self) -> CalledTool:
        """Return the tool that the name of the call means."""
        if self.call_kind == "custom":
            return CalledTool("custom", self.name)
        return self.tool_names.find_tool(self.name)

    @property
    def is_complete(self) -> bool:
        """True when nothing is missing, given that another part has followed.

        The pieces of several calls may alternate.
        """
        if self.server_item is not None:
            return self.server_status != IN_PROGRESS
        if self.type != "function_call":
            return True
        if self.call_kind == "custom":
            return False
        try:
            arguments: object = orjson.loads("".join(self.arguments) or "{}")
        except orjson.JSONDecodeError:
            return False
        return isinstance(arguments, dict)

    def make_entry(self, *, is_whole: bool) -> Entry:
        """Return the item; `is_whole` is true when the answer is complete."""
        if self.server_item is not None:
            return self._make_server_entry(self.server_item)
        if self.type == "reasoning":
            entry = items.make_reasoning_entry("".join(self.text))
        elif self.type == "function_call":
            entry = self._make_call_entry()
        elif self.type == "compaction":
            entry = items.make_compaction_entry("".join(self.text))
        else:
            entry = self._make_message_entry()
        entry.output = True
        entry.status = "completed" if is_whole else "incomplete"
        return entry.make_storable()

    def _make_server_entry(self, item: JsonObject) -> Entry:
        status = "incomplete" if self.server_status == IN_PROGRESS else self.server_status
        entry = items.make_server_entry(item, status)
        entry.output = True
        return entry.make_storable()

    def _make_call_entry(self) -> Entry:
        tool = self.called_tool
        payload = "".join(self.arguments)
        if tool.kind == "custom" and self.call_kind != "custom":
            payload = read_custom_input(payload)
        entry = items.make_tool_call_entry(tool, self.call_id, payload)
        entry.data |= self.call_extras
        return entry

    def _make_message_entry(self) -> Entry:
        text = "".join(self.text)
        refusal = "".join(self.refusal)
        parts: list[JsonObject] = []
        if text or not refusal:
            part: JsonObject = {"type": "output_text", "text": text}
            part["annotations"] = self.annotations
            if self.logprobs:
                part["logprobs"] = self.logprobs
            parts.append(part)
        if refusal:
            parts.append({"type": "refusal", "refusal": refusal})
        data = {"type": "message", "role": "assistant", "content": parts}
        return Entry("message", "assistant", data, text or refusal)


class CollectedAnswer:
    """The first choice of an answer in `parts`; the other choices are in `other_choices`.

    Nothing is collected beyond STORED_ANSWER_BYTES. The answer is `is_cut_off` then, like one that
    has reached its limit of tokens. The names of its calls mean tools of `tool_names`.
    """

    def __init__(self, request_hex: str, tool_names: ToolNames = SAME_NAMES) -> None:
        self._bytes_left: int = settings.STORED_ANSWER_BYTES
        self.is_cut_off = False
        self._request_hex = request_hex
        self._tool_names = tool_names
        self._text_kind = "message"  # of the part that texts become
        self._call_parts: dict[int, AnswerPart] = {}
        self._server_parts: dict[str, AnswerPart] = {}  # of tools that the gateway runs, by key
        self.parts: list[AnswerPart] = []
        self._reasoning_details: list[JsonObject] = []
        self.other_choices: dict[int, CollectedAnswer] = {}
        self.finish_reason = ""
        self.extra_fields: JsonObject = {}
        self.has_begun = False

    @property
    def size_bytes(self) -> int:
        """Return about how many bytes the answer takes."""
        return int(settings.STORED_ANSWER_BYTES) - self._bytes_left

    def expect_compaction(self) -> None:
        """Take the text that follows for a summary of the conversation."""
        self._text_kind = "compaction"

    def add_compaction(self, summary: str) -> None:
        """Add a summary of the conversation in front of the answer."""
        self._find_or_add_part("compaction").text.append(summary)

    def add_chunks(self, batch: Iterable[Chunk]) -> None:
        """Add chunks to the answer."""
        for chunk in batch:
            self.has_begun = True
            has_extras = not chunk.keys() <= OPENAI_CHUNK_FIELDS
            if has_extras and ANSWER_PIECES in chunk:
                self.add_chunks(chunk[ANSWER_PIECES])
                continue
            if self.is_cut_off or self._is_too_long(chunk):
                self.is_cut_off = True
                self.finish_reason = "length"
                continue
            if has_extras:
                self._add_extras(chunk)
            for choice in chunk.get("choices") or ():
                answer = self
                if index := choice.get("index"):
                    answer = self._find_or_add_other_choice(index)
                answer._add_choice(choice)

    def _add_extras(self, chunk: Chunk) -> None:
        """Keep the fields of a chunk that OpenAI's chunks do not have."""
        if (item := chunk.get(SERVER_ITEM)) is not None:
            self._add_server_item(item)
            return
        for name, value in chunk.items():
            if name not in OPENAI_CHUNK_FIELDS:
                self.extra_fields[name] = value

    def _add_server_item(self, fields: JsonObject) -> None:
        """Add an item of a tool that the gateway runs, or its end."""
        part = self._server_parts.get(fields["key"])
        if part is None:
            kind = fields["item"]["type"]
            part = AnswerPart(kind, self._request_hex, len(self.parts))
            self._server_parts[fields["key"]] = part
            self.parts.append(part)
        self._bytes_left -= PART_BYTES + items.measure_json_bytes(fields["item"])
        part.server_item = fields["item"]
        part.server_status = fields["status"]

    def _find_or_add_other_choice(self, index: int) -> "CollectedAnswer":
        """Return the answer that collects the choice of this index, which is not the first."""
        if index not in self.other_choices:
            self.other_choices[index] = CollectedAnswer(self._request_hex, self._tool_names)
        return self.other_choices[index]

    def _is_too_long(self, chunk: Chunk) -> bool:
        """Return whether there is no room for the chunk; if there is, count it."""
        for choice in chunk.get("choices") or ():
            message = choice.get("message") or choice.get("delta") or {}
            for value in message.values():
                if isinstance(value, str):
                    self._bytes_left -= PIECE_BYTES + len(value)
                elif value is not None:
                    self._bytes_left -= PIECE_BYTES + items.measure_json_bytes(value)
            if logprobs := choice.get("logprobs"):
                self._bytes_left -= items.measure_json_bytes(logprobs)
        return self._bytes_left < 0

    def _add_choice(self, choice: JsonObject) -> None:
        is_whole = "delta" not in choice
        message = choice.get("message" if is_whole else "delta") or {}
        if isinstance(thought := message.get("reasoning_content") or message.get("reasoning"), str):
            self._find_or_add_part("reasoning").text.append(thought)
        if isinstance(text := message.get("content"), str) and text:
            self._find_or_add_part(self._text_kind).text.append(text)
        if isinstance(refusal := message.get("refusal"), str) and refusal:
            self._find_or_add_part("message").refusal.append(refusal)
        if annotations := message.get("annotations"):
            self._find_or_add_part("message").annotations.extend(annotations)
        if (logprobs := choice.get("logprobs")) and logprobs.get("content"):
            self._find_or_add_part("message").logprobs.extend(logprobs["content"])
        if isinstance(details := message.get(items.DETAILS_FIELD), list):
            self._reasoning_details = add_detail_pieces(self._reasoning_details, details)
        for place, call in enumerate(message.get("tool_calls") or ()):
            self._add_call(place if is_whole else call.get("index", place), call)
        if reason := choice.get("finish_reason"):
            self.finish_reason = reason

    def _find_or_add_part(self, kind: str) -> AnswerPart:
        if not self.parts or self.parts[-1].type != kind:
            self._bytes_left -= PART_BYTES
            self.parts.append(AnswerPart(kind, self._request_hex, len(self.parts)))
        return self.parts[-1]

    def _add_call(self, index: int, call: JsonObject) -> None:
        part = self._call_parts.get(index)
        if part is None:
            part = AnswerPart(
                "function_call",
                self._request_hex,
                len(self.parts),
                tool_names=self._tool_names,
            )
            part.call_id = call.get("id") or f"call_{self._request_hex}{index:02x}"
            self._call_parts[index] = part
            self.parts.append(part)
        kind = find_kind(call)
        if kind:
            part.call_kind = kind
            content = call[kind]
            part.name += content.get("name") or ""
            if arguments := content.get(CONTENT_FIELDS[kind]):
                part.arguments.append(arguments)
        if extras := items.select_call_extras(call):
            part.call_extras |= extras

    def make_entries(self, *, is_whole: bool = True) -> list[Entry]:
        """Return the items of the answer.

        In an answer that broke off they are incomplete, except parts that another part has
        followed.
        """
        last = len(self.parts) - 1
        entries = [
            part.make_entry(is_whole=is_whole or (index < last and part.is_complete))
            for index, part in enumerate(self.parts)
        ]
        if self._reasoning_details and self._call_parts:
            self._add_details(entries)
        return entries

    def _add_details(self, entries: list[Entry]) -> None:
        """Keep the details of the thinking with its item, or with the first call."""
        entry = next(
            (entry for entry in entries if entry.type in ("reasoning", *items.CALL_TYPES)), None
        )
        if entry is not None:
            entry.data = entry.data | {items.DETAILS_FIELD: self._reasoning_details}

    def render_other_choices(self) -> list[JsonObject]:
        """Return the further choices: {"index", "message", "finish_reason"}."""
        choices = []
        for index, other in sorted(self.other_choices.items()):
            messages = items_to_chat.entries_to_messages(other.make_entries())
            message = messages[0] if messages else {"role": "assistant", "content": ""}
            choices.append(
                {"index": index, "message": message, "finish_reason": other.finish_reason or None}
            )
        return choices
