"""Output items in the form of OpenAI's types, which strict clients require.

Source: the openai package's types, `ResponseOutputMessage`, `ResponseReasoningItem`.
"""

from collections.abc import Iterable
from typing import Any

from providers.protocol.json_types import JsonObject
from providers.protocol.usage_meter import parse_count


def render_output_item(item: JsonObject, *, as_summary: bool = False) -> JsonObject:
    """Return an output item in OpenAI's form, with thinking as a summary if asked for."""
    if item["type"] == "reasoning" and as_summary:
        told = [
            {"type": "summary_text", "text": part["text"]} for part in item.get("content") or ()
        ]
        return {
            **{name: value for name, value in item.items() if name != "content"},
            "summary": told,
        }
    if item["type"] != "message":
        return item
    return item | {"content": [render_content_part(part) for part in item["content"]]}


def render_content_part(part: JsonObject) -> JsonObject:
    if part["type"] != "output_text":
        return part
    annotations = render_annotations(part.get("annotations") or ())
    return part | {
        "annotations": annotations,
        "logprobs": render_logprobs(part.get("logprobs") or []),
    }


def render_annotations(annotations: Iterable[Any]) -> list[JsonObject]:
    """Return the citations of URLs in the flat form of responses.

    Chat completions have them nested. Other annotations are left out.
    """
    found = []
    for annotation in annotations:
        cited = annotation.get("url_citation") or annotation if isinstance(annotation, dict) else {}
        if isinstance(url := cited.get("url"), str):
            title = cited.get("title")
            start = parse_count(cited.get("start_index")) or 0
            end = parse_count(cited.get("end_index")) or 0
            shown = {"type": "url_citation", "start_index": start, "end_index": end, "url": url}
            found.append({**shown, "title": title if isinstance(title, str) else url})
    return found


def render_logprobs(logprobs: list[Any]) -> list[JsonObject]:
    return [
        render_logprob(entry)
        | {
            "top_logprobs": [
                render_logprob(top) for top in select_logprob_entries(entry.get("top_logprobs"))
            ]
        }
        for entry in select_logprob_entries(logprobs)
    ]


def select_logprob_entries(entries: Any) -> list[JsonObject]:
    """Return the entries that have a token and its log probability."""
    return [
        entry
        for entry in (entries if isinstance(entries, list) else ())
        if isinstance(entry, dict)
        and isinstance(entry.get("token"), str)
        and isinstance(entry.get("logprob"), int | float)
    ]


def render_logprob(entry: JsonObject) -> JsonObject:
    """Return the entry with the bytes of its token, which some upstreams leave out."""
    given = entry.get("bytes")
    token = entry["token"]
    read = given if isinstance(given, list) else list(token.encode("utf-8", "replace"))
    return {"token": token, "logprob": entry["logprob"], "bytes": read}
