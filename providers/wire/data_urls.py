"""Decode the images and files given as data: URLs in messages. No I/O.

Source of the shapes: OpenAI's API reference (`image_url` and `file` parts) and RFC 2397.
"""

import re
from base64 import b64decode
from binascii import Error as Base64Error
from typing import Any

from msgspec import Struct

from providers.exceptions import Rejected

Json = dict[str, Any]
DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)(?:;[^,;]*)*;base64,", re.ASCII)
UNSAFE_NAME_CHARS = re.compile(r"[^\w .()-]+")


class Attachment(Struct, frozen=True):
    """One image or file; `kind` is "image" or "file"."""

    kind: str
    name: str
    content_type: str
    data: bytes


def decode_attachments(messages: list[Json]) -> list[Attachment]:
    """Return the images and files of these messages, in their order.

    Raises Rejected if one cannot be uploaded.
    """
    return [decode_attachment(part) for part in find_non_text_parts(messages)]


def find_non_text_parts(messages: list[Json]) -> list[Json]:
    """Return all content parts other than text."""
    contents = (message.get("content") for message in messages)
    parts = [part for content in contents if isinstance(content, list) for part in content]
    return [part for part in parts if part["type"] not in ("text", "refusal")]


def decode_attachment(part: Json) -> Attachment:
    kind = {"image_url": "image", "file": "file"}.get(part["type"], "")
    if not kind:
        raise Rejected("This model takes text, images and files only.", param="messages")
    holder = part.get(part["type"])
    url = (
        holder.get("url" if kind == "image" else "file_data")
        if isinstance(holder, dict)
        else holder
    )
    url = url if isinstance(url, str) else ""
    found = DATA_URL.match(url)
    if found is None:
        raise Rejected(
            f"Give the {kind} as a data: URL in base64; this upstream fetches none.",
            param="messages",
        )
    try:
        data = b64decode(url[found.end() :], validate=True)
    except Base64Error:
        raise Rejected("A data: URL is not valid base64.", param="messages") from None
    given = holder.get("filename") if isinstance(holder, dict) else None
    name = UNSAFE_NAME_CHARS.sub("_", given)[-100:] if isinstance(given, str) and given else ""
    return Attachment(kind, name or f"{kind}.{found[1].partition('/')[2]}", found[1], data)
