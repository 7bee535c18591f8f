"""Content blocks of the Messages API as parts of a chat message.

Source: Anthropic's API reference, "Create a Message"; OpenAI's, "Create a chat completion".
"""

from collections.abc import Iterable, Iterator

import orjson

from providers.protocol.json_types import JsonObject

MARK = "cache_control"  # kept as OpenRouter has it: on the part
BLOCK_SEPARATOR = "\n\n"


def list_parts(block: JsonObject) -> list[JsonObject]:
    """Return the parts of one block that a user or a tool says; the last one has its mark."""
    kind = block["type"]
    if kind == "text":
        parts = [make_text_part(block["text"])] if block["text"] else []
    elif kind == "image":
        parts = [make_image_part(block["source"])]
    elif kind == "document":
        parts = list_document_parts(block)
    else:
        parts = [make_text_part(describe_block(block))]
    if parts and block.get(MARK):
        parts[-1] = parts[-1] | {MARK: block[MARK]}
    return parts


def make_text_part(text: str) -> JsonObject:
    """Return a text as a part of a chat message."""
    return {"type": "text", "text": text}


def make_image_part(source: JsonObject) -> JsonObject:
    """Return the part of an image; a stored one is a file of the caller's."""
    if source["type"] == "file":
        return {"type": "file", "file": {"file_id": source["file_id"]}}
    url = source["url"] if source["type"] == "url" else make_data_url(source)
    return {"type": "image_url", "image_url": {"url": url}}


def list_document_parts(block: JsonObject) -> list[JsonObject]:
    """Return the parts of a document: a file, or the texts and images that it consists of."""
    source = block["source"]
    title = block.get("title") or ""
    context = block.get("context") or ""
    if source["type"] in ("text", "content"):
        content = source.get("content") if source["type"] == "content" else source["data"]
        inner = [{"type": "text", "text": content}] if isinstance(content, str) else content
        heading = f"[Document: {title}]" if title else "[Document]"
        opening = BLOCK_SEPARATOR.join(filter(None, (heading, context)))
        parts = [part for inner_block in inner for part in list_parts(inner_block)]
        return [make_text_part(opening), *parts, make_text_part("[End of the document]")]
    part: JsonObject = {"type": "file", "file": {}}
    if source["type"] == "file":
        part["file"]["file_id"] = source["file_id"]
    elif source["type"] == "url":
        part["file"]["file_url"] = source["url"]
    else:
        part["file"] = {"file_data": make_data_url(source)}
        if title:
            part["file"]["filename"] = title
    return [make_text_part(context), part] if context else [part]


def make_data_url(source: JsonObject) -> str:
    """Return the data URL of a source in base64."""
    return f"data:{source['media_type']};base64,{source['data']}"


# --- blocks without a part of their own -----------------------------------------------------------
def describe_block(block: JsonObject) -> str:
    """Return a text in place of a block that no chat upstream knows."""
    kind = block["type"]
    if kind == "search_result":
        texts = [str(inner.get("text") or "") for inner in block["content"]]
        return "\n".join((f"[Search result: {block['title']} ({block['source']})]", *texts))
    if kind == "tool_reference":
        return f"[Tool: {block.get('tool_name')}]"
    if kind == "compaction":
        return str(block.get("content") or "")
    if kind in ("server_tool_use", "mcp_tool_use"):
        return f"[Called {block.get('name')}: {dump_json(block.get('input'))}]"
    name = kind.removesuffix("_tool_result").replace("_", " ")
    return f"[Result of {name}]\n" + "\n".join(list_result_lines(block.get("content")))


def list_result_lines(content: object) -> Iterator[str]:
    """Yield the content of a result of Anthropic's own tools as lines, without encrypted parts."""
    for item in content if isinstance(content, list) else [content]:
        if isinstance(item, dict) and "url" in item:
            yield f"- {item.get('title') or ''} ({item['url']})"
        elif isinstance(item, dict) and isinstance(item.get("text"), str):
            yield item["text"]
        elif isinstance(item, dict):
            yield dump_json({key: item[key] for key in item if not key.startswith("encrypted")})
        elif item is not None:
            yield str(item)


def dump_json(value: object) -> str:
    """Return a value as JSON text."""
    return orjson.dumps(value).decode()


def simplify_parts(parts: list[JsonObject]) -> str | list[JsonObject]:
    """Return parts that are only text without marks as one text, which every upstream takes."""
    if all(part["type"] == "text" and MARK not in part for part in parts):
        return join_texts(part["text"] for part in parts)
    return parts


def join_texts(texts: Iterable[str]) -> str:
    """Return texts as one, with a blank line between them."""
    return BLOCK_SEPARATOR.join(texts)
