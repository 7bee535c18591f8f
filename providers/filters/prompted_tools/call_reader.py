"""Turn tool calls that a model wrote as text into OpenAI's tool calls, per choice. No I/O.

Only `delta.content` is read: thinking has been separated before and is never looked at. If the
answer must contain a call (`tool_choice` required or named), it is held until its first call; if
none comes, `attempt.lacks_tool_call` is set before the text is passed on. With several choices it
is not set.
"""

from typing import Any

from providers.filters.native_calls import generate_call_id
from providers.filters.prompted_tools import tool_prompt
from providers.filters.prompted_tools.call_scanner import CallScanner
from providers.filters.prompted_tools.written_call import WrittenCall
from providers.protocol.attempt import Attempt
from providers.protocol.chunks import Chunk
from providers.protocol.request import ChatRequest

Delta = dict[str, Any]
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
        return [told for chunk in batch for told in self._read_chunk(chunk)]

    def _read_chunk(self, chunk: Chunk) -> list[Chunk]:
        if not chunk["choices"]:
            return [chunk]
        told = [choice for choice in chunk["choices"] for choice in self._read_choice(choice)]
        if len(told) == len(chunk["choices"]):
            return [chunk | {"choices": told}]
        head = {name: value for name, value in chunk.items() if name not in ("choices", "usage")}
        chunks = [head | {"choices": [choice]} for choice in told]
        return (
            [*chunks, head | {"choices": [], "usage": chunk["usage"]}]
            if chunk.get("usage")
            else chunks
        )

    def _read_choice(self, choice: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the choice as one or more with one delta each; none when all of it is held."""
        index = choice["index"]
        reason = choice["finish_reason"]
        reading = self._choice_readers.get(index)
        if reading is None:
            scan = CallScanner(self._tools, is_parallel=self._offer.is_parallel)
            reading = self._choice_readers[index] = ChoiceReader(scan, self._offer)
        given = choice.get("delta") or {}
        deltas = reading.read_delta(given)
        if reason is not None:
            deltas += reading.finish_text()
            self._attempt.lacks_tool_call |= (
                self._reports_missing_call
                and not (reading.has_calls or reading.has_given_up)
                and reason != "content_filter"
            )
            reason = reading.choose_finish_reason(reason)
            if not deltas or reading.has_calls:
                deltas.append({})
        last = len(deltas) - 1
        return [
            {**choice, "delta": delta, "finish_reason": reason if at == last else None}
            | ({} if at == 0 or "logprobs" not in choice else {"logprobs": None})
            for at, delta in enumerate(deltas)
        ]


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
        return self._next_index > 0

    def choose_finish_reason(self, reason: str) -> str:
        """Return the finish reason, which names the calls if there are some."""
        if not self.has_calls or reason not in NORMAL_STOP_REASONS:
            return reason
        return "function_call" if self._offer.is_legacy else "tool_calls"

    def read_delta(self, delta: Delta) -> list[Delta]:
        """Return the deltas that are decided now, with the other fields of `read_delta`."""
        text = delta.get("content")
        self._next_index = max(
            [self._next_index, *(call["index"] + 1 for call in delta.get("tool_calls") or ())]
        )
        if not isinstance(text, str) or not text:
            return [delta] if delta else []
        found = self._build_deltas(self._scanner.feed(text))
        rest = {name: value for name, value in delta.items() if name != "content"}
        if found and not rest.keys() & found[0].keys():
            return [rest | found[0], *found[1:]]
        if "role" in rest:
            rest["content"] = None
        return [rest, *found] if rest else found

    def finish_text(self) -> list[Delta]:
        """Return the deltas of all that was held."""
        found = self._build_deltas(self._scanner.finish_text())
        if self._waiting_items:
            waiting = self._waiting_items
            self._waiting_items = None
            found += self._build_deltas(waiting)
        return found

    def _build_deltas(self, items: list[str | WrittenCall]) -> list[Delta]:
        if self._waiting_items is not None:
            self._waiting_items += items
            self._waiting_chars += sum(len(item) for item in items if isinstance(item, str))
            self.has_given_up = (
                self._waiting_chars > MOST_WAITING_CHARS and not self._scanner.call_count
            )
            if not self._scanner.call_count and not self.has_given_up:
                return []
            items = self._waiting_items
            self._waiting_items = None
        return [
            {"content": item} if isinstance(item, str) else self._build_call_delta(item)
            for item in items
        ]

    def _build_call_delta(self, call: WrittenCall) -> Delta:
        function = {"name": call.name, "arguments": call.arguments}
        index = self._next_index
        self._next_index = self._next_index + 1
        if self._offer.is_legacy:
            return {"function_call": function}
        return {
            "tool_calls": [
                {"index": index, "id": generate_call_id(), "type": "function", "function": function}
            ]
        }
