"""An upstream inside this process that repeats the last message: for first steps and for tests.

It works offline. Chat and completions answer with the last user message, word by word when
streaming. Embeddings are made of a hash: equal texts have equal vectors, and the numbers have no
other meaning. No credential, no network.
"""

import asyncio
import hashlib
import re
import struct
import time
from base64 import b64encode
from collections.abc import Iterator

from providers.protocol.attempt import Attempt
from providers.protocol.chunks import Batches, Chunk, make_completion, make_delta
from providers.protocol.json_types import FrozenJsonObject
from providers.protocol.message_text import join_texts
from providers.protocol.request import CHAT, EMBEDDINGS, ChatRequest, Credential, UpstreamModel
from providers.upstream.base_adapter import BaseAdapter

DIMENSIONS = 64
NO_USER_TEXT = "(nothing was said)"


class Adapter(BaseAdapter):
    label = "Echo (offline)"
    has_url = False

    async def relay_answer(
        self, request: ChatRequest, model: UpstreamModel, credential: Credential, attempt: Attempt
    ) -> Batches:
        attempt.status = 200
        if request.endpoint == EMBEDDINGS:
            yield [make_embeddings(request)]
            return
        text = find_last_text(request.body)
        if not request.stream:
            yield [make_whole_answer(request, text)]
            return
        for chunk in make_chunks(request, text):
            yield [chunk]
            await asyncio.sleep(0)

    async def list_model_ids(self, credential: Credential) -> list[str]:
        return ["echo"]


def find_last_text(body: FrozenJsonObject) -> str:
    """Find the text of the last user message, or of the prompt."""
    if "prompt" in body:
        prompt = body["prompt"]
        if isinstance(prompt, str):
            return prompt
        return " ".join(map(str, prompt or [NO_USER_TEXT]))
    for message in reversed(body["messages"]):
        if message["role"] == "user":
            return join_texts(message.get("content")) or NO_USER_TEXT
    return NO_USER_TEXT


def make_whole_answer(request: ChatRequest, text: str) -> Chunk:
    """Return the text as one whole answer."""
    if request.endpoint == CHAT:
        return make_completion(request, {"content": text}, None)
    return make_text_completion(request, text, "stop")


def make_chunks(request: ChatRequest, text: str) -> Iterator[Chunk]:
    """Yield the text word by word, then the finish reason."""
    words = re.findall(r"\S+\s*|\s+", text)
    if request.endpoint != CHAT:
        yield from (make_text_completion(request, word, None) for word in words)
        yield make_text_completion(request, "", "stop")
        return
    role = {"role": "assistant"}
    for word in words:
        yield make_delta(request, **role, content=word)
        role = {}
    yield make_delta(request, finish_reason="stop")


def make_text_completion(request: ChatRequest, text: str, finish_reason: str | None) -> Chunk:
    """Return a legacy completion, or one chunk of it: both have this shape."""
    choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": finish_reason}
    return {
        "id": f"cmpl-{request.id}",
        "object": "text_completion",
        "created": int(time.time()),
        "model": request.model,
        "choices": [choice],
    }


def make_embeddings(request: ChatRequest) -> Chunk:
    """Return the vectors of the input: one text, one list of token ids, or a list of either."""
    inputs = request.body["input"]
    if isinstance(inputs, str) or (inputs and isinstance(inputs[0], int)):
        inputs = [inputs]
    embeddings: list[object] = [make_vector(str(text)) for text in inputs]
    if request.body.get("encoding_format") == "base64":
        embeddings = [encode_vector(make_vector(str(text))) for text in inputs]
    data = [
        {"object": "embedding", "index": index, "embedding": embedding}
        for index, embedding in enumerate(embeddings)
    ]
    return {"object": "list", "data": data, "model": request.model}


def make_vector(text: str) -> list[float]:
    """Return numbers that depend on the text and mean nothing."""
    digest = hashlib.shake_256(text.encode()).digest(DIMENSIONS)
    return [(byte - 127.5) / 1024 for byte in digest]


def encode_vector(vector: list[float]) -> str:
    """Return a vector as OpenAI encodes it: base64 of little-endian floats."""
    return b64encode(struct.pack(f"<{DIMENSIONS}f", *vector)).decode()
