"""Decode the images and files given as data: URLs in messages. No I/O.

Source of the shapes: OpenAI's API reference (`image_url` and `file` parts) and RFC 2397.
"""

import re
from base64 import b64decode
from binascii import Error as Base64Error

from msgspec import Struct

from providers.exceptions import Rejected
from providers.protocol.json_types import JsonObject

DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)(?:;[^,;]*)*;base64,", re.ASCII)
URL_FIELDS = {"image": "url", "file": "file_data"}
ATTACHMENT_KINDS = {"image_url": "image", "file": "file"}  # by the type of the part
UNSAFE_NAME_CHARS = re.compile(r"[^\w .()-]+")


class Attachment(Struct, frozen=True):
    """One image or file; `kind` is "image" or "file"."""

    kind: str
    name: str
    content_type: str
    data: bytes


def decode_attachments(messages: list[JsonObject]) -> list[Attachment]:
    """Return the images and files of these messages, in their order.

    Raises Rejected if one cannot be uploaded.
    """
    return [decode_attachment(part) for part in find_non_text_parts(messages)]


def find_non_text_parts(messages: list[JsonObject]) -> list[JsonObject]:
    """Return all content parts other than text."""
    contents = (message.get("content") for message in messages)
    parts = [part for content in contents if isinstance(content, list) for part in content]
    return [part for part in parts if part["type"] not in ("text", "refusal")]


def decode_attachment(part: JsonObject) -> Attachment:
    """Return the image or file of one content part. Raises Rejected if it cannot be uploaded."""
    kind = ATTACHMENT_KINDS.get(part["type"])
    if kind is None:
        raise Rejected("This model takes text, images and files only.", param="messages")
    url, file_name = read_url_and_name(part, kind)
    head = DATA_URL.match(url)
    if head is None:
        raise Rejected(
            f"Give the {kind} as a data: URL in base64; this upstream fetches none.",
            param="messages",
        )
    try:
        data = b64decode(url[head.end() :], validate=True)
    except Base64Error:
        raise Rejected("A data: URL is not valid base64.", param="messages") from None
    content_type = head[1]
    name = UNSAFE_NAME_CHARS.sub("_", file_name)[-100:]
    name = name or f"{kind}.{content_type.partition('/')[2]}"
    return Attachment(kind, name, content_type, data)


def read_url_and_name(part: JsonObject, kind: str) -> tuple[str, str]:
    """Return the URL and the file name of a part, each empty if it has none."""
    holder = part.get(part["type"])
    if not isinstance(holder, dict):
        return as_text(holder), ""
    url = holder.get(URL_FIELDS[kind])
    return as_text(url), as_text(holder.get("filename"))


def as_text(value: object) -> str:
    return value if isinstance(value, str) else ""
