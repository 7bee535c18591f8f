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
from typing import Any

from providers.protocol.attempt import Attempt
from providers.protocol.chunks import Batches, Chunk, make_completion, make_delta
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
        said = find_last_text(request.body)
        if not request.stream:
            yield [
                make_completion(request, {"content": said}, None)
                if request.endpoint == CHAT
                else make_text_completion(request, said, "stop")
            ]
            return
        for position, word in enumerate(re.findall(r"\S+\s*|\s+", said)):
            if request.endpoint != CHAT:
                yield [make_text_completion(request, word, None)]
            else:
                yield [
                    make_delta(request, role="assistant", content=word)
                    if position == 0
                    else make_delta(request, content=word)
                ]
            await asyncio.sleep(0)
        yield [
            make_delta(request, finish_reason="stop")
            if request.endpoint == CHAT
            else make_text_completion(request, "", "stop")
        ]

    async def list_model_ids(self, credential: Credential) -> list[str]:
        return ["echo"]


def find_last_text(body: dict[str, Any]) -> str:
    """Find the text of the last user message, or of the prompt."""
    if "prompt" in body:
        prompt = body["prompt"]
        return prompt if isinstance(prompt, str) else " ".join(map(str, prompt or [NO_USER_TEXT]))
    for message in reversed(body["messages"]):
        if message["role"] == "user":
            return join_texts(message.get("content")) or NO_USER_TEXT
    return NO_USER_TEXT


def make_text_completion(request: ChatRequest, words: str, finish_reason: str | None) -> Chunk:
    """Return a legacy completion, or one chunk of it: both have this shape."""
    choice = {"index": 0, "text": words, "logprobs": None, "finish_reason": finish_reason}
    return {
        "id": f"cmpl-{request.id}",
        "object": "text_completion",
        "created": int(time.time()),
        "model": request.model,
        "choices": [choice],
    }


def make_embeddings(request: ChatRequest) -> Chunk:
    given = request.body["input"]
    inputs = [given] if isinstance(given, str) or (given and isinstance(given[0], int)) else given
    as_base64 = request.body.get("encoding_format") == "base64"
    data = []
    for index, item in enumerate(inputs):
        raw = hashlib.shake_256(str(item).encode()).digest(DIMENSIONS)
        vector = [(byte - 127.5) / 1024 for byte in raw]
        value = b64encode(struct.pack(f"<{DIMENSIONS}f", *vector)).decode() if as_base64 else vector
        data.append({"object": "embedding", "index": index, "embedding": value})
    return {"object": "list", "data": data, "model": request.model}
