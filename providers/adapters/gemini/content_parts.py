"""Turn the content of chat messages into parts of Gemini's `contents`. No I/O."""

import mimetypes
import re
from urllib.parse import urlsplit

from providers.exceptions import Rejected
from providers.protocol.json_types import JsonObject
from providers.wire.data_urls import as_text

DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)(?:;[^,;]*)*;base64,", re.ASCII)
AUDIO_TYPES = {"mp3": "audio/mp3", "wav": "audio/wav", "flac": "audio/flac", "ogg": "audio/ogg"}
GEMINI_HOST = "generativelanguage.googleapis.com"
# part type -> the field of its object that has the URL
URL_FIELDS = {"image_url": "url", "video_url": "url", "file": "file_data"}


def build_content_parts(content: object) -> list[JsonObject]:
    """Return the parts of a message's content. Raises Rejected for one that Gemini cannot take.

    Empty texts are left out, because a part must have content.
    """
    if isinstance(content, str):
        return [{"text": content}] if content else []
    if not isinstance(content, list):
        return []
    parts = [build_content_part(part) for part in content]
    return [part for part in parts if part.get("text") != ""]


def build_content_part(part: JsonObject) -> JsonObject:
    """Return one content part. Raises Rejected when Gemini cannot take it."""
    kind = part["type"]
    if kind in ("text", "refusal"):
        return {"text": as_text(part.get(kind))}
    if kind == "input_audio":
        return build_audio_part(part["input_audio"])
    if kind in URL_FIELDS:
        holder = part.get(kind)
        url = holder.get(URL_FIELDS[kind]) if isinstance(holder, dict) else holder
        return build_url_part(as_text(url))
    raise Rejected(
        f"Gemini takes no content part of the type {kind!r}.",
        param="messages",
        code="unsupported_parameter",
    )


def build_audio_part(audio: object) -> JsonObject:
    """Return the part of OpenAI's `input_audio`: base64 data and the name of its format."""
    if not isinstance(audio, dict) or not as_text(audio.get("data")):
        raise Rejected("An audio part needs data.", param="messages")
    name = as_text(audio.get("format")) or "wav"
    data = {"mimeType": AUDIO_TYPES.get(name, f"audio/{name}"), "data": audio["data"]}
    return {"inlineData": data}


def build_url_part(url: str) -> JsonObject:
    """Return the part of a data URL, or of an address that Gemini itself fetches.

    The type of what stands at an address is guessed from its ending; without one Gemini finds it.
    Raises Rejected for other URLs, also for those that only the operator's account can read: files
    in its buckets (gs://), and files at Gemini itself.
    """
    if head := DATA_URL.match(url[:1_000]):
        return {"inlineData": {"mimeType": head[1], "data": url[head.end() :]}}
    if not is_public_url(url):
        raise Rejected(
            "Gemini takes images, videos and files as base64 data: URLs or https:// addresses.",
            param="messages",
        )
    file = {"fileUri": url}
    guessed, _ = mimetypes.guess_type(url.partition("?")[0])
    if guessed:
        file["mimeType"] = guessed
    return {"fileData": file}


def is_public_url(url: str) -> bool:
    """Return whether a URL is an https:// address that is not one of Gemini's own."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return False
    return url.startswith("https://") and not host.rstrip(".").endswith(GEMINI_HOST)
