"""One answer of Kimi's web site, as far as its two dialects have it in common. No I/O."""

from providers.filters.citations import CitationReplacer, Sources
from providers.protocol.attempt import Attempt
from providers.protocol.chunks import Chunk, make_delta
from providers.protocol.json_types import JsonObject
from providers.protocol.request import ChatRequest


class KimiAnswer:
    """The state of an answer that is read: its sources, its texts, and whether it is over."""

    def __init__(self, request: ChatRequest, attempt: Attempt, secret: str) -> None:
        self._request = request
        self._attempt = attempt
        self._secret = secret
        self._sources = Sources()
        self._content = CitationReplacer(self._sources)
        self._reasoning = CitationReplacer(self._sources, wants_footnotes=False)
        self._has_text = False
        self.has_ended = False
        self.over = False

    def _render_text(self, text: str, *, is_thought: bool) -> list[Chunk]:
        """Return the text as a delta; none when nothing is left without its marks."""
        replacer = self._reasoning if is_thought else self._content
        text = replacer.replace_marks(text)
        if not text:
            return []
        self._has_text = True
        if is_thought:
            return [make_delta(self._request, reasoning_content=text)]
        return [make_delta(self._request, content=text)]

    def _render_finish(self, reason: str, annotations: list[JsonObject]) -> list[Chunk]:
        """Return the last chunks: the annotations, if there are any, and the finish reason."""
        self.has_ended = True
        chunks = [make_delta(self._request, finish_reason=reason)]
        if annotations:
            chunks.insert(0, make_delta(self._request, annotations=annotations))
        return chunks
