"""Turn tool calls that a model wrote as text into OpenAI's tool calls, per choice. No I/O.

`delta.content` is read, and thinking for calls that end it. If the answer of a model that is told
its tools in words must contain a call (`tool_choice` required or named), it is held until its first
call; if none comes, `attempt.lacks_tool_call` is set before the text is passed on. With several
choices it is not set.
"""

from dataclasses import replace

from providers.filters.prompted_tools import call_syntax, tool_prompt
from providers.filters.prompted_tools.choice_reader import ChoiceReader, Delta
from providers.protocol.attempt import Attempt
from providers.protocol.chunks import Chunk
from providers.protocol.json_types import JsonObject
from providers.protocol.request import ChatRequest


class CallReader:
    """The filter for one answer.

    `call_forms` are the families of forms that are looked for (`call_syntax.py`). `is_native`: the
    upstream makes tool calls itself, and only some of them come as text.
    """

    __slots__ = (
        "_attempt",
        "_call_forms",
        "_choice_readers",
        "_has_one_choice",
        "_is_native",
        "_offer",
        "_request",
    )

    def __init__(
        self,
        request: ChatRequest,
        attempt: Attempt,
        *,
        call_forms: frozenset[str] = call_syntax.ALL_FORMS,
        is_native: bool = False,
    ) -> None:
        self._attempt = attempt
        self._request = request
        self._call_forms = call_forms
        self._is_native = is_native
        self._offer: tool_prompt.ToolOffer | None = None
        self._has_one_choice = (request.body.get("n") or 1) == 1
        self._choice_readers: dict[int, ChoiceReader] = {}

    def filter_chunks(self, batch: list[Chunk]) -> list[Chunk]:
        filtered: list[Chunk] = []
        for chunk in batch:
            if self.passes_plain(chunk):
                filtered.append(chunk)
            else:
                filtered += self._read_chunk(chunk)
        return filtered

    def passes_plain(self, chunk: Chunk) -> bool:
        """Return whether a chunk goes out as it is, because its text cannot belong to a call.

        It counts as read then. Nearly every chunk of an ordinary answer is one.
        """
        choices = chunk["choices"]
        if len(choices) != 1:
            return False
        choice = choices[0]
        delta = choice.get("delta")
        if not delta or len(delta) != 1 or choice.get("finish_reason") is not None:
            return False
        reader = self._choice_readers.get(choice["index"])
        return reader is not None and reader.passes_plain(delta)

    def may_hold_calls(self, text: object) -> bool:
        """Return whether a text has any sign of a call."""
        start = call_syntax.compile_construct_start(self._call_forms)
        return isinstance(text, str) and start.search(text) is not None

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
            reader = self._choice_readers[index] = self._make_choice_reader()
        deltas = reader.read_delta(choice.get("delta") or {})
        if reason is not None:
            deltas += reader.finish_text(reason)
            if self._has_one_choice and reason != "content_filter" and reader.lacks_call:
                self._attempt.lacks_tool_call = True
            reason = reader.choose_finish_reason(reason)
            if not deltas or reader.has_calls:
                deltas.append({})
        return spread_deltas(choice, deltas, reason)

    def _make_choice_reader(self) -> ChoiceReader:
        if self._offer is None:
            self._offer = tool_prompt.read_tool_offer(self._request.body)
            if self._is_native:  # whether it calls a tool is the upstream's own concern
                self._offer = replace(self._offer, requires_call=False)
        messages = self._request.body.get("messages") or ()
        return ChoiceReader(self._offer, self._call_forms, messages)


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
