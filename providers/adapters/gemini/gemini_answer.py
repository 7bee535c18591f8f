"""Turn Gemini's answers into chunks: each event of a stream, or one whole answer. No I/O.

An event has the new parts of each candidate; the last one has the finish reason. There is no mark
of the end: the bytes end. Source: Gemini's API reference, "GenerateContentResponse".
"""

import orjson
from msgspec import Struct, field

from providers.adapters.gemini import signatures
from providers.adapters.gemini.candidate_end import choose_finish_reason, explain_block
from providers.adapters.gemini.gemini_errors import map_error_event
from providers.adapters.gemini.gemini_usage import convert_usage
from providers.adapters.gemini.grounding import build_annotations
from providers.adapters.gemini.token_logprobs import convert_logprobs
from providers.filters.conform import as_index
from providers.filters.native_calls import generate_call_id
from providers.protocol.chunks import Chunk, make_delta, make_usage_chunk
from providers.protocol.json_types import JsonObject
from providers.protocol.request import ChatRequest
from providers.wire.data_urls import as_text
from providers.wire.json_reader import read_raw_json


class CandidateState(Struct):
    """One candidate of an answer, as far as it has come."""

    call_count: int = 0
    has_content: bool = False
    has_ended: bool = False
    detail_count: int = 0
    texts: list[str] = field(default_factory=list)  # kept only for the places of citations
    grounding: JsonObject = {}


class GeminiAnswer:
    """The reader of one answer.

    `custom_names` are the tools whose calls carry free text. `searches`: the answer may have
    citations, so its text is kept for their places.
    """

    over = False

    def __init__(
        self,
        request: ChatRequest,
        secret: str,
        *,
        custom_names: frozenset[str] = frozenset(),
        searches: bool = False,
    ) -> None:
        self._request = request
        self._secret = secret
        self._custom_names = custom_names
        self._searches = searches
        self._is_legacy = bool(request.body.get("functions"))
        self._candidates: dict[int, CandidateState] = {}

    def read(self, data: bytes) -> list[Chunk]:
        """Return the chunks of one event. Raises UpstreamError, ValueError."""
        event = read_raw_json(data)
        if not isinstance(event, dict):
            raise ValueError("no object")
        return self.read_object(event)

    def read_object(self, event: JsonObject) -> list[Chunk]:
        """Return the chunks of one event, or of a whole answer.

        Raises UpstreamError for an error, or for an answer that cannot be used.
        """
        if event.get("error"):
            raise map_error_event(event, self._secret)
        chunks: list[Chunk] = []
        candidates = event.get("candidates")
        for position, candidate in enumerate(candidates if isinstance(candidates, list) else ()):
            if isinstance(candidate, dict):
                chunks += self._read_candidate(candidate, position)
        feedback = event.get("promptFeedback")
        if not self._candidates and isinstance(feedback, dict) and feedback.get("blockReason"):
            chunks += self._refuse_prompt(feedback)
        usage = event.get("usageMetadata")
        if isinstance(usage, dict) and any(map(has_ended, self._candidates.values())):
            chunks.append(make_usage_chunk(self._request, convert_usage(usage)))
        return chunks

    def close(self) -> list[Chunk]:
        return []

    def _make_chunk(self, index: int, reason: str | None = None, **fields: object) -> Chunk:
        """Return a chunk of the choice with this index."""
        chunk = make_delta(self._request, finish_reason=reason, **fields)
        chunk["choices"][0]["index"] = index
        return chunk

    def _refuse_prompt(self, feedback: JsonObject) -> list[Chunk]:
        """Return the answer to a prompt that Gemini has blocked."""
        self._candidates[0] = CandidateState(has_ended=True)
        refusal = explain_block(feedback)
        return [self._make_chunk(0, refusal=refusal), self._make_chunk(0, "content_filter")]

    def _read_candidate(self, candidate: JsonObject, position: int) -> list[Chunk]:
        """Return the chunks of the new parts of a candidate."""
        index = as_index(candidate.get("index"), position)
        state = self._candidates.setdefault(index, CandidateState())
        if state.has_ended:
            return []
        content = candidate.get("content")
        parts = content.get("parts") if isinstance(content, dict) else None
        deltas = [
            delta
            for part in (parts if isinstance(parts, list) else ())
            if isinstance(part, dict) and (delta := self._read_part(part, state))
        ]
        chunks = [self._make_chunk(index, **delta) for delta in deltas]
        if (logprobs := convert_logprobs(candidate.get("logprobsResult"))) is not None:
            chunks = chunks or [self._make_chunk(index)]
            chunks[-1]["choices"][0]["logprobs"] = logprobs
        if isinstance(candidate.get("groundingMetadata"), dict):
            state.grounding |= candidate["groundingMetadata"]
        if candidate.get("finishReason"):
            chunks += self._end_candidate(index, candidate, state)
        return chunks

    def _end_candidate(
        self, index: int, candidate: JsonObject, state: CandidateState
    ) -> list[Chunk]:
        """Return the last chunks of a candidate. Raises UpstreamError if it cannot be used."""
        reason = choose_finish_reason(
            candidate, has_content=state.has_content, has_calls=state.call_count > 0
        )
        state.has_ended = True
        chunks = []
        if state.grounding and self._searches:
            annotations = build_annotations(state.grounding, "".join(state.texts))
            if annotations:
                chunks.append(self._make_chunk(index, annotations=annotations))
        explanation = as_text(candidate.get("finishMessage"))
        if reason == "content_filter" and explanation and not state.has_content:
            chunks.append(self._make_chunk(index, refusal=explanation))
        if reason == "tool_calls" and self._is_legacy:
            reason = "function_call"
        return [*chunks, self._make_chunk(index, reason)]

    # --- parts ------------------------------------------------------------------------------------
    def _read_part(self, part: JsonObject, state: CandidateState) -> JsonObject:
        """Return the delta of one part; empty for a part without content."""
        signature = as_text(part.get("thoughtSignature"))
        call = part.get("functionCall")
        if isinstance(call, dict):
            state.has_content = True
            return self._read_call(call, signature, state)
        delta: JsonObject = {}
        if text := as_text(part.get("text")):
            delta = self._read_text(text, state, is_thought=part.get("thought") is True)
        elif isinstance(data := part.get("inlineData"), dict):
            state.has_content = True
            delta = {"images": [build_image(data)]}
        if signature:
            detail = signatures.build_text_detail(signature, state.detail_count)
            state.detail_count += 1
            delta["reasoning_details"] = [detail]
        return delta

    def _read_text(self, text: str, state: CandidateState, *, is_thought: bool) -> JsonObject:
        """Return the delta of a text, or of a thought."""
        if is_thought:
            return {"reasoning_content": text}
        state.has_content = True
        if self._searches:
            state.texts.append(text)
        return {"content": text}

    def _read_call(self, call: JsonObject, signature: str, state: CandidateState) -> JsonObject:
        """Return the delta of one call; Gemini sends a call whole."""
        name = as_text(call.get("name"))
        args = call.get("args")
        if not isinstance(args, dict):
            args = {}
        index = state.call_count
        state.call_count += 1
        arguments = orjson.dumps(args).decode()
        if self._is_legacy and index:
            return {}  # an answer of this old form has one call only
        if self._is_legacy:
            return {"function_call": {"name": name, "arguments": arguments}}
        kind = "function"
        content = {"name": name, "arguments": arguments}
        if name in self._custom_names:
            kind = "custom"
            content = {"name": name, "input": as_text(args.get("input"))}
        entry = {
            "index": index,
            "id": as_text(call.get("id")) or generate_call_id(),
            "type": kind,
            kind: content,
        }
        if signature:
            entry |= signatures.build_call_extras(signature)
        return {"tool_calls": [entry]}


def has_ended(state: CandidateState) -> bool:
    """Return whether a candidate has ended."""
    return state.has_ended


def build_image(data: JsonObject) -> JsonObject:
    """Return a generated image as OpenRouter has it."""
    kind = as_text(data.get("mimeType")) or "image/png"
    url = f"data:{kind};base64,{as_text(data.get('data'))}"
    return {"type": "image_url", "image_url": {"url": url}}
