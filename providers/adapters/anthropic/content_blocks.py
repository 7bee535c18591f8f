"""Write the parts of a chat message as content blocks of the Messages API. No I/O.

Texts that are empty are left out, because Anthropic refuses them. Source: Anthropic's API
reference, "Messages", "Vision", "PDF support".
"""

from base64 import b64decode
from binascii import Error as Base64Error

from providers.exceptions import Rejected
from providers.filters.file_parts import TEXT_FIELD
from providers.protocol.json_types import JsonObject
from providers.wire.data_urls import DATA_URL

IMAGE_TYPES = ("image/jpeg", "image/png", "image/gif", "image/webp")
IMAGE_TYPE_NAMES = {"image/jpg": "image/jpeg"}
PDF_TYPE = "application/pdf"
PDF_OPENING = "JVBERi0"  # the base64 of %PDF-
TEXT_TYPES = ("application/json", "application/xml", "application/yaml", "application/x-ndjson")
# files that are sent as they are; of others their text
WHOLE_FILE_TYPES = frozenset((*IMAGE_TYPES, PDF_TYPE, "text/plain", "text/markdown", "text/csv"))
MARK_FIELD = "cache_control"


def convert_content(content: object, path: str) -> list[JsonObject]:
    """Return the blocks of a message's content, which is a text, a list of parts or null.

    `path` is its place in the body, for errors. Raises Rejected.
    """
    if isinstance(content, str):
        return make_text_blocks(content)
    if not isinstance(content, list):
        return []
    blocks: list[JsonObject] = []
    for position, part in enumerate(content):
        blocks += convert_part(part, f"{path}[{position}]")
    return blocks


def make_text_blocks(text: object) -> list[JsonObject]:
    """Return a block with the text, or none if it has only white space."""
    if not isinstance(text, str) or not text.strip():
        return []
    return [{"type": "text", "text": text}]


def convert_part(part: JsonObject, path: str) -> list[JsonObject]:
    """Return the blocks of one part: one, or none for an empty text. Raises Rejected."""
    kind = part["type"]
    if kind == "text":
        blocks = make_text_blocks(part.get("text"))
    elif kind == "refusal":
        blocks = make_text_blocks(part.get("refusal"))
    elif kind == "image_url":
        blocks = [convert_image(part.get("image_url"), path)]
    elif kind == "file":
        blocks = [convert_file(part, path)]
    else:
        raise Rejected(
            f"Anthropic's models take texts, images and files, but no {kind!r}.",
            param=path,
            code="unsupported_parameter",
        )
    if blocks and part.get(MARK_FIELD):
        blocks[-1][MARK_FIELD] = part[MARK_FIELD]
    return blocks


def convert_image(image: object, path: str) -> JsonObject:
    """Return the block of an image at a data URL or a web address. Raises Rejected."""
    url = image.get("url") if isinstance(image, dict) else image
    if not isinstance(url, str):
        raise Rejected("The image has no URL.", param=path)
    if url.lower().startswith(("http://", "https://")):
        return {"type": "image", "source": {"type": "url", "url": url}}
    media_type, data = split_data_url(url, path)
    media_type = IMAGE_TYPE_NAMES.get(media_type, media_type)
    if media_type not in IMAGE_TYPES:
        raise Rejected(
            f"Anthropic's models take JPEG, PNG, GIF and WebP, but no {media_type}.", param=path
        )
    return make_base64_block("image", media_type, data)


def convert_file(part: JsonObject, path: str) -> JsonObject:
    """Return the block of a file: a PDF, an image or a text. Raises Rejected for another type.

    `file_data` is a data URL; without it the text that the gateway has read is sent.
    """
    file = part.get("file") or {}
    title = file.get("filename") or "file"
    url = file.get("file_data")
    if not isinstance(url, str):
        return make_text_document(part.get(TEXT_FIELD), title, path)
    media_type, data = split_data_url(url, path)
    if media_type in IMAGE_TYPES:
        return make_base64_block("image", media_type, data)
    if media_type == PDF_TYPE or data.startswith(PDF_OPENING):
        return make_base64_block("document", PDF_TYPE, data) | {"title": title}
    if part.get(TEXT_FIELD):
        return make_text_document(part[TEXT_FIELD], title, path)
    if media_type.startswith("text/") or media_type in TEXT_TYPES:
        return make_text_document(decode_text(data, path), title, path)
    raise Rejected(
        f"Anthropic's models take PDFs, texts and images as files, but no {media_type}.", param=path
    )


def make_text_document(text: object, title: str, path: str) -> JsonObject:
    """Return a document with this text. Raises Rejected if there is none."""
    if not isinstance(text, str) or not text.strip():
        raise Rejected(f"The file {title!r} has no text.", param=path)
    source = {"type": "text", "media_type": "text/plain", "data": text}
    return {"type": "document", "source": source, "title": title}


def make_base64_block(kind: str, media_type: str, data: str) -> JsonObject:
    """Return a block of this kind with data in base64."""
    source = {"type": "base64", "media_type": media_type, "data": data}
    return {"type": kind, "source": source}


def split_data_url(url: str, path: str) -> tuple[str, str]:
    """Return the content type and the base64 of a data URL. Raises Rejected if it is none."""
    head = DATA_URL.match(url)
    if head is None:
        raise Rejected("Give a web address, or a data: URL in base64.", param=path)
    return head[1].lower(), url[head.end() :]


def decode_text(data: str, path: str) -> str:
    """Return the text of a file; bytes that are no UTF-8 become U+FFFD. Raises Rejected."""
    try:
        return b64decode(data, validate=True).decode("utf-8-sig", "replace")
    except Base64Error:
        raise Rejected("A data: URL is not valid base64.", param=path) from None
