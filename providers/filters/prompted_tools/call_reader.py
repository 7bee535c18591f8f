"""Turn tool calls that a model wrote as text into OpenAI's tool calls, per choice. No I/O.

Only `delta.content` is read: thinking has been separated before and is never looked at. If the
answer must contain a call (`tool_choice` required or named), it is held until its first call; if
none comes, `attempt.lacks_tool_call` is set before the text is passed on. With several choices it
is not set.
"""

from providers.filters.native_calls import generate_call_id
from providers.filters.prompted_tools import tool_prompt
from providers.filters.prompted_tools.call_scanner import CallScanner
from providers.filters.prompted_tools.written_call import WrittenCall
from providers.protocol.attempt import Attempt
from providers.protocol.chunks import Chunk
from providers.protocol.json_types import JsonObject
from providers.protocol.request import ChatRequest

Delta = JsonObject
MOST_WAITING_CHARS = 2**20  # most text held while a demanded call has not come
NORMAL_STOP_REASONS = ("stop", "tool_calls", "function_call")  # the model stopped by itself


class CallReader:
    """The filter for one answer."""

    __slots__ = ("_attempt", "_choice_readers", "_offer", "_reports_missing_call", "_tools")

    def __init__(self, request: ChatRequest, attempt: Attempt) -> None:
        self._attempt = attempt
        self._offer = tool_prompt.read_tool_offer(request.body)
        self._tools = self._offer.callable_tools
        self._reports_missing_call = self._offer.requires_call and (request.body.get("n") or 1) == 1
        self._choice_readers: dict[int, ChoiceReader] = {}

    def filter_chunks(self, batch: list[Chunk]) -> list[Chunk]:
        return [part for chunk in batch for part in self._read_chunk(chunk)]

    def _read_chunk(self, chunk: Chunk) -> list[Chunk]:
        """Return the chunk, or one chunk for each choice if the number of choices changes."""
        if not chunk["choices"]:
            return [chunk]
        choices = [part for choice in chunk["choices"] for part in self._read_choice(choice)]
        if len(choices) == len(chunk["choices"]):
            return [chunk | {"choices": choices}]
        head = {name: value for name, value in chunk.items() if name not in ("choices", "usage")}
        chunks = [head | {"choices": [choice]} for choice in choices]
        if chunk.get("usage"):
            chunks.append(head | {"choices": [], "usage": chunk["usage"]})
        return chunks

    def _read_choice(self, choice: JsonObject) -> list[JsonObject]:
        """Return the choice as one or more with one delta each; none when all of it is held."""
        index = choice["index"]
        reason = choice["finish_reason"]
        reader = self._choice_readers.get(index)
        if reader is None:
            scanner = CallScanner(self._tools, is_parallel=self._offer.is_parallel)
            reader = self._choice_readers[index] = ChoiceReader(scanner, self._offer)
        deltas = reader.read_delta(choice.get("delta") or {})
        if reason is not None:
            deltas += reader.finish_text()
            if self._reports_missing_call and reason != "content_filter" and reader.lacks_call:
                self._attempt.lacks_tool_call = True
            reason = reader.choose_finish_reason(reason)
            if not deltas or reader.has_calls:
                deltas.append({})
        return spread_deltas(choice, deltas, reason)


def spread_deltas(choice: JsonObject, deltas: list[Delta], reason: str | None) -> list[JsonObject]:
    """Return a copy of the choice for each delta.

    The first has its log probabilities, the last the finish reason.
    """
    choices = [choice | {"delta": delta, "finish_reason": None} for delta in deltas]
    if choices:
        choices[-1]["finish_reason"] = reason
    if "logprobs" in choice:
        for later_choice in choices[1:]:
            later_choice["logprobs"] = None
    return choices


class ChoiceReader:
    """The state of one choice."""

    __slots__ = (
        "_next_index",
        "_offer",
        "_scanner",
        "_waiting_chars",
        "_waiting_items",
        "has_given_up",
    )

    def __init__(self, scanner: CallScanner, offer: tool_prompt.ToolOffer) -> None:
        self._scanner = scanner
        self._offer = offer
        self._next_index = 0  # index of the next call
        self._waiting_items: list[str | WrittenCall] | None = [] if offer.requires_call else None
        self._waiting_chars = 0
        self.has_given_up = False  # the held text became too long and was passed on without a call

    @property
    def has_calls(self) -> bool:
        """Return whether the answer has calls, also of the upstream's own."""
        return self._next_index > 0

    @property
    def lacks_call(self) -> bool:
        """Return whether all text was held for a call that did not come."""
        return not (self.has_calls or self.has_given_up)

    def choose_finish_reason(self, reason: str) -> str:
        """Return the finish reason, which names the calls if there are some."""
        if not self.has_calls or reason not in NORMAL_STOP_REASONS:
            return reason
        return "function_call" if self._offer.is_legacy else "tool_calls"

    def read_delta(self, delta: Delta) -> list[Delta]:
        """Return the deltas that are decided now, with the other fields of `delta`."""
        text = delta.get("content")
        for call in delta.get("tool_calls") or ():
            self._next_index = max(self._next_index, call["index"] + 1)
        if not isinstance(text, str) or not text:
            return [delta] if delta else []
        deltas = self._build_deltas(self._scanner.feed(text))
        other_fields = {name: value for name, value in delta.items() if name != "content"}
        if not other_fields:
            return deltas
        if deltas and not other_fields.keys() & deltas[0].keys():
            return [other_fields | deltas[0], *deltas[1:]]
        if "role" in other_fields:
            other_fields["content"] = None
        return [other_fields, *deltas]

    def finish_text(self) -> list[Delta]:
        """Return the deltas of all that was held."""
        deltas = self._build_deltas(self._scanner.finish_text())
        if self._waiting_items:
            waiting_items = self._waiting_items
            self._waiting_items = None
            deltas += self._build_deltas(waiting_items)
        return deltas

    def _build_deltas(self, items: list[str | WrittenCall]) -> list[Delta]:
        """Return the items as deltas; none as long as they are held for a demanded call."""
        if self._waiting_items is not None:
            self._waiting_items += items
            self._waiting_chars += sum(len(item) for item in items if isinstance(item, str))
            if not self._scanner.call_count:
                if self._waiting_chars <= MOST_WAITING_CHARS:
                    return []
                self.has_given_up = True
            items = self._waiting_items
            self._waiting_items = None
        return [
            {"content": item} if isinstance(item, str) else self._build_call_delta(item)
            for item in items
        ]

    def _build_call_delta(self, call: WrittenCall) -> Delta:
        function = {"name": call.name, "arguments": call.arguments}
        index = self._next_index
        self._next_index += 1
        if self._offer.is_legacy:
            return {"function_call": function}
        return {
            "tool_calls": [
                {"index": index, "id": generate_call_id(), "type": "function", "function": function}
            ]
        }
