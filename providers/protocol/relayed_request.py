"""Requests whose body is passed on as it is: images, audio, moderations and rerank.

Only the name of the model changes. Sources: OpenAI's API reference, "Images", "Audio" and
"Moderations"; Cohere's, Jina's and vLLM's references for rerank.
"""

from typing import IO

from msgspec import Struct

from providers.protocol.json_types import JsonObject

# paths below an upstream's base URL
IMAGE_GENERATIONS = "images/generations"
IMAGE_EDITS = "images/edits"
IMAGE_VARIATIONS = "images/variations"
SPEECH = "audio/speech"
TRANSCRIPTIONS = "audio/transcriptions"
TRANSLATIONS = "audio/translations"
MODERATIONS = "moderations"
RERANK = "rerank"
REALTIME = "realtime"  # a WebSocket
REALTIME_PATH = f"/v1/{REALTIME}"
# choices.Capability of each endpoint
RELAYED_CAPABILITIES = {
    IMAGE_GENERATIONS: "images",
    IMAGE_EDITS: "images",
    IMAGE_VARIATIONS: "images",
    SPEECH: "speech",
    TRANSCRIPTIONS: "transcription",
    TRANSLATIONS: "transcription",
    MODERATIONS: "moderation",
    RERANK: "rerank",
    REALTIME: "realtime",
}
# the fields whose texts are counted as prompt tokens, where the upstream does not report any
TEXT_FIELDS: dict[str, tuple[str, ...]] = {
    IMAGE_GENERATIONS: ("prompt",),
    IMAGE_EDITS: ("prompt",),
    IMAGE_VARIATIONS: (),
    SPEECH: ("input",),
    TRANSCRIPTIONS: (),
    TRANSLATIONS: (),
    MODERATIONS: ("input",),
    RERANK: ("query", "documents"),
    REALTIME: (),
}
AUDIO_ENDPOINTS = frozenset((TRANSCRIPTIONS, TRANSLATIONS))
IMAGE_ENDPOINTS = frozenset((IMAGE_GENERATIONS, IMAGE_EDITS, IMAGE_VARIATIONS))
# keys of the chunks of such an answer, beside `usage`
CONTENT_TYPE = "content_type"  # in the first chunk alone
CONTENT = "content"  # bytes of the body, or a message of a session
CONNECTION = "connection"  # of a session, in its first chunk


class UploadedForm(Struct, frozen=True):
    """A form (multipart/form-data) in a file, with all its parts but the model and the end.

    `size_bytes` is the length of the file, and `boundary` separates the parts. A request may be
    sent to several upstreams, one after another: each reads the file from its beginning.
    """

    file: IO[bytes]
    size_bytes: int
    boundary: str

    @property
    def content_type(self) -> str:
        return f"multipart/form-data; boundary={self.boundary}"

    def make_start(self, model_name: str) -> bytes:
        """Return the part that names the model; the file follows it."""
        return (
            f'--{self.boundary}\r\nContent-Disposition: form-data; name="model"\r\n\r\n'
            f"{model_name}\r\n"
        ).encode()

    def make_end(self) -> bytes:
        """Return the end of the form, which follows the file."""
        return f"--{self.boundary}--\r\n".encode()


def make_relayed_chunk(content: bytes, content_type: str = "", **fields: object) -> JsonObject:
    """Return one chunk of a relayed answer."""
    chunk: JsonObject = {CONTENT: content, **fields}
    if content_type:
        chunk[CONTENT_TYPE] = content_type
    return chunk
