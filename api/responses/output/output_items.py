"""Output items in the form of OpenAI's types, which strict clients require.

Source: the openai package's types, `ResponseOutputMessage`, `ResponseReasoningItem`.
"""

from collections.abc import Iterable, Sequence

from providers.protocol.json_types import JsonObject
from providers.protocol.usage_meter import parse_count


def render_output_item(item: JsonObject, *, as_summary: bool = False) -> JsonObject:
    """Return an output item in OpenAI's form, with thinking as a summary if asked for."""
    if item["type"] == "reasoning" and as_summary:
        return move_thinking_to_summary(item)
    if item["type"] != "message":
        return item
    return item | {"content": [render_content_part(part) for part in item["content"]]}


def move_thinking_to_summary(item: JsonObject) -> JsonObject:
    """Return a reasoning item with its content as its summary."""
    summary = [{"type": "summary_text", "text": part["text"]} for part in item.get("content") or ()]
    fields = {name: value for name, value in item.items() if name != "content"}
    return fields | {"summary": summary}


def render_content_part(part: JsonObject) -> JsonObject:
    if part["type"] != "output_text":
        return part
    return part | {
        "annotations": render_annotations(part.get("annotations") or ()),
        "logprobs": render_logprobs(part.get("logprobs") or []),
    }


def render_annotations(annotations: Iterable[object]) -> list[JsonObject]:
    """Return the citations of URLs and files in the flat form of responses.

    Chat completions have them nested. Other annotations are left out.
    """
    rendered = (render_annotation(annotation) for annotation in annotations)
    return [annotation for annotation in rendered if annotation is not None]


def render_annotation(annotation: object) -> JsonObject | None:
    """Return a citation in the flat form, None for any other annotation."""
    if not isinstance(annotation, dict):
        return None
    if annotation.get("type") == "file_citation":
        return render_file_citation(annotation.get("file_citation") or annotation)
    citation = annotation.get("url_citation") or annotation
    if not isinstance(citation, dict) or not isinstance(citation.get("url"), str):
        return None
    return render_url_citation(citation)


def render_file_citation(citation: object) -> JsonObject | None:
    """Return the citation of a file, None when it does not say which."""
    if not isinstance(citation, dict) or not isinstance(citation.get("file_id"), str):
        return None
    return {
        "type": "file_citation",
        "file_id": citation["file_id"],
        "filename": str(citation.get("filename") or citation["file_id"]),
        "index": parse_count(citation.get("index")) or 0,
    }


def render_url_citation(citation: JsonObject) -> JsonObject:
    """Return a citation with all fields; the URL stands for a title that is missing."""
    title = citation.get("title")
    return {
        "type": "url_citation",
        "start_index": parse_count(citation.get("start_index")) or 0,
        "end_index": parse_count(citation.get("end_index")) or 0,
        "url": citation["url"],
        "title": title if isinstance(title, str) else citation["url"],
    }


def render_logprobs(logprobs: Sequence[object]) -> list[JsonObject]:
    return [
        render_logprob(entry)
        | {"top_logprobs": list(map(render_logprob, select_logprobs(entry.get("top_logprobs"))))}
        for entry in select_logprobs(logprobs)
    ]


def select_logprobs(entries: object) -> list[JsonObject]:
    """Return the entries that have a token and its log probability."""
    if not isinstance(entries, list):
        return []
    return [
        entry
        for entry in entries
        if isinstance(entry, dict)
        and isinstance(entry.get("token"), str)
        and isinstance(entry.get("logprob"), int | float)
    ]


def render_logprob(entry: JsonObject) -> JsonObject:
    """Return the entry with the bytes of its token, which some upstreams leave out."""
    token = entry["token"]
    token_bytes = entry.get("bytes")
    if not isinstance(token_bytes, list):
        token_bytes = list(token.encode("utf-8", "replace"))
    return {"token": token, "logprob": entry["logprob"], "bytes": token_bytes}
