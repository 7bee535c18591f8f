"""Turn tool calls that a model wrote as text into OpenAI's tool calls, per choice. No I/O.

Only `delta.content` is read: thinking has been separated before and is never looked at. If the
answer must contain a call (`tool_choice` required or named), it is held until its first call; if
none comes, `attempt.lacks_call` is set before the text is passed on. With several choices it is not
set.
"""

from typing import Any

from providers.filters.native_calls import new_id
from providers.filters.prompted_tools import tool_prompt
from providers.filters.prompted_tools.call_scanner import CallScan
from providers.filters.prompted_tools.call_syntax import Call
from providers.protocol.attempt import Attempt
from providers.protocol.chunks import Chunk
from providers.protocol.request import ChatRequest

Delta = dict[str, Any]
MOST_WAITING_CHARS = 2**20  # most text held while a demanded call has not come
OWN_REASONS = ("stop", "tool_calls", "function_call")  # the model stopped by itself


class CallReader:
    """The filter for one answer."""

    __slots__ = ("_attempt", "_offer", "_readings", "_retries", "_tools")

    def __init__(self, request: ChatRequest, attempt: Attempt) -> None:
        self._attempt = attempt
        self._offer = tool_prompt.offer(request.body)
        self._tools = self._offer.callable
        self._retries = self._offer.demanded and (request.body.get("n") or 1) == 1
        self._readings: dict[int, Reading] = {}

    def chunks(self, batch: list[Chunk]) -> list[Chunk]:
        return [told for chunk in batch for told in self._chunk(chunk)]

    def _chunk(self, chunk: Chunk) -> list[Chunk]:
        if not chunk["choices"]:
            return [chunk]
        told = [choice for choice in chunk["choices"] for choice in self._choice(choice)]
        if len(told) == len(chunk["choices"]):
            return [chunk | {"choices": told}]
        head = {name: value for name, value in chunk.items() if name not in ("choices", "usage")}
        chunks = [head | {"choices": [choice]} for choice in told]
        return (
            [*chunks, head | {"choices": [], "usage": chunk["usage"]}]
            if chunk.get("usage")
            else chunks
        )

    def _choice(self, choice: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the choice as one or more with one delta each; none when all of it is held."""
        index = choice["index"]
        reason = choice["finish_reason"]
        reading = self._readings.get(index)
        if reading is None:
            scan = CallScan(self._tools, parallel=self._offer.parallel)
            reading = self._readings[index] = Reading(scan, self._offer)
        given = choice.get("delta") or {}
        deltas = reading.delta(given)
        if reason is not None:
            deltas += reading.end()
            self._attempt.lacks_call |= (
                self._retries
                and not (reading.called or reading.gave_up)
                and reason != "content_filter"
            )
            reason = reading.reason(reason)
            if not deltas or reading.called:
                deltas.append({})
        last = len(deltas) - 1
        return [
            {**choice, "delta": delta, "finish_reason": reason if at == last else None}
            | ({} if at == 0 or "logprobs" not in choice else {"logprobs": None})
            for at, delta in enumerate(deltas)
        ]


class Reading:
    """The state of one choice."""

    __slots__ = ("_next", "_offer", "_scan", "_waiting", "_waiting_chars", "gave_up")

    def __init__(self, scan: CallScan, offer: tool_prompt.Offer) -> None:
        self._scan = scan
        self._offer = offer
        self._next = 0  # index of the next call
        self._waiting: list[str | Call] | None = [] if offer.demanded else None
        self._waiting_chars = 0
        self.gave_up = False  # the held text became too long and was passed on without a call

    @property
    def called(self) -> bool:
        return self._next > 0

    def reason(self, reason: str) -> str:
        """Return the finish reason, which names the calls if there are some."""
        if not self.called or reason not in OWN_REASONS:
            return reason
        return "function_call" if self._offer.legacy else "tool_calls"

    def delta(self, delta: Delta) -> list[Delta]:
        """Return the deltas that are decided now; the other fields of `delta` go with the first."""
        text = delta.get("content")
        self._next = max(
            [self._next, *(call["index"] + 1 for call in delta.get("tool_calls") or ())]
        )
        if not isinstance(text, str) or not text:
            return [delta] if delta else []
        found = self._told(self._scan.feed(text))
        rest = {name: value for name, value in delta.items() if name != "content"}
        if found and not rest.keys() & found[0].keys():
            return [rest | found[0], *found[1:]]
        if "role" in rest:
            rest["content"] = None
        return [rest, *found] if rest else found

    def end(self) -> list[Delta]:
        """Return the deltas of all that was held."""
        found = self._told(self._scan.end())
        if self._waiting:
            waiting = self._waiting
            self._waiting = None
            found += self._told(waiting)
        return found

    def _told(self, items: list[str | Call]) -> list[Delta]:
        if self._waiting is not None:
            self._waiting += items
            self._waiting_chars += sum(len(item) for item in items if isinstance(item, str))
            self.gave_up = self._waiting_chars > MOST_WAITING_CHARS and not self._scan.made
            if not self._scan.made and not self.gave_up:
                return []
            items = self._waiting
            self._waiting = None
        return [{"content": item} if isinstance(item, str) else self._call(item) for item in items]

    def _call(self, call: Call) -> Delta:
        function = {"name": call.name, "arguments": call.arguments}
        index = self._next
        self._next = self._next + 1
        if self._offer.legacy:
            return {"function_call": function}
        return {
            "tool_calls": [
                {"index": index, "id": new_id(), "type": "function", "function": function}
            ]
        }
