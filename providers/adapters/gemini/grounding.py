"""Turn the sources of a grounded answer into OpenAI's annotations. No I/O.

Gemini numbers its sources, and says which bytes of the text each of them supports. Source: Gemini's
API reference, "GroundingMetadata"; OpenAI's API reference, "Web search".
"""

from collections.abc import Iterator

from providers.filters.conform import as_index
from providers.protocol.json_types import JsonObject
from providers.wire.data_urls import as_text


def build_annotations(metadata: JsonObject, text: str) -> list[JsonObject]:
    """Return the citations of an answer with this text, in the order of their places.

    Sources that support no part of the text are cited at its end.
    """
    sources = read_sources(metadata.get("groundingChunks"))
    data = text.encode("utf-8", "surrogatepass")
    annotations = []
    cited: set[int] = set()
    for segment, index in iterate_supports(metadata.get("groundingSupports")):
        if index in sources:
            cited.add(index)
            start = count_characters(data, segment.get("startIndex"), 0)
            end = count_characters(data, segment.get("endIndex"), len(data))
            annotations.append(build_annotation(sources[index], start, end))
    end = len(text)
    annotations += [
        build_annotation(source, end, end)
        for index, source in sources.items()
        if index not in cited
    ]
    return annotations


def read_sources(chunks: object) -> dict[int, tuple[str, str]]:
    """Return address and title of each source that has an address, by its number."""
    sources: dict[int, tuple[str, str]] = {}
    for index, chunk in enumerate(chunks if isinstance(chunks, list) else ()):
        web = chunk.get("web") if isinstance(chunk, dict) else None
        url = as_text(web.get("uri")) if isinstance(web, dict) else ""
        if isinstance(web, dict) and url.startswith(("http://", "https://")):
            sources[index] = (url, as_text(web.get("title")) or url)
    return sources


def iterate_supports(supports: object) -> Iterator[tuple[JsonObject, int]]:
    """Yield each segment of the text with the number of each source that supports it."""
    for support in supports if isinstance(supports, list) else ():
        segment = support.get("segment") if isinstance(support, dict) else None
        indexes = support.get("groundingChunkIndices") if isinstance(support, dict) else None
        if isinstance(segment, dict) and isinstance(indexes, list):
            yield from ((segment, index) for index in indexes if type(index) is int)


def count_characters(data: bytes, position: object, default: int) -> int:
    """Return how many characters the text has before a position in bytes."""
    length = max(0, as_index(position, default))
    return len(data[:length].decode("utf-8", "ignore"))


def build_annotation(source: tuple[str, str], start: int, end: int) -> JsonObject:
    """Return the citation of a source for the characters from `start` to before `end`."""
    url, title = source
    citation = {"start_index": start, "end_index": end, "url": url, "title": title}
    return {"type": "url_citation", "url_citation": citation}
