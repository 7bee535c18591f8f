"""The vocabulary of a request: what goes down (ChatRequest, Credential, Trace) and what comes up (OpenAI chunks).

Down: one `ChatRequest` with the caller's whole body, one `Credential` per attempt, one `Trace` that failover and
strategies write into. Up: a chunk is a plain dict in OpenAI's official schema (`chat.completion.chunk`, or one whole
`chat.completion` when the request does not stream); what an async generator yields is the list of chunks that one
read brought. What goes down is made per request, so it is msgspec Structs: like slotted dataclasses, at a fifth of
the cost. Source of the shapes: OpenAI's API reference, "Chat completions".
"""

import time
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from msgspec import Struct, field

ANSWERING = ("answered", "running", "cut", "abandoned")
Chunk = dict[str, Any]
Batches = AsyncGenerator[list[Chunk], None]

CHAT, COMPLETIONS, EMBEDDINGS = "chat/completions", "completions", "embeddings"


class ChatRequest(Struct, frozen=True):
    """One accepted request. `id` is a UUIDv7 as 32 hex digits; `body` is the caller's, validated, without the fields
    that are ours.
    """

    id: str
    endpoint: str  # CHAT, COMPLETIONS or EMBEDDINGS: the path below an upstream's base URL
    model: str  # public id, as the caller wrote it
    body: dict[str, Any]
    stream: bool = False
    include_usage: bool = False  # the caller wants the chunk that carries usage


class Credential(Struct, frozen=True):
    """Who we are to an upstream for one attempt; `token_id` None and an empty secret where a provider needs none."""

    token_id: UUID | None
    secret: str

    def __repr__(self) -> str:
        return f"Credential({self.token_id})"


class Attempt(Struct):
    """One upstream call or one candidate passed over: what it was and how it ended. Times in milliseconds."""

    provider: str
    model: str
    token_id: UUID | None = None
    provider_id: int | None = None
    outcome: str = "running"  # "answered", "skipped", or the name of the error class
    reason: str = ""
    status: int | None = None
    began: float = field(default_factory=time.perf_counter)
    deadline: float = float("inf")  # of the whole request, on the clock of `began`
    patience: float | None = None  # seconds until the first byte must be there
    connect_ms: float | None = None
    first_byte_ms: float | None = None
    total_ms: float | None = None

    def end(self, outcome: str, reason: str = "", status: int | None = None) -> None:
        self.outcome, self.reason, self.status = outcome, reason, status
        self.total_ms = (time.perf_counter() - self.began) * 1000

    def as_dict(self) -> dict[str, Any]:
        """The shape stored in the ledger (`attempts`)."""
        return {
            "provider": self.provider,
            "model": self.model,
            "token": self.token_id,
            "outcome": self.outcome,
            "reason": self.reason,
            "status": self.status,
            "connect_ms": self.connect_ms,
            "first_byte_ms": self.first_byte_ms,
            "total_ms": self.total_ms,
        }


class Trace(Struct):
    """What happened to one request so far; the ledger writes it down once. The one mutable thing on the path."""

    request: ChatRequest
    key_id: int | None = None
    user_id: int | None = None
    started_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat())
    began: float = field(default_factory=time.perf_counter)
    attempts: list[Attempt] = field(default_factory=list)
    queue_ms: float | None = None  # until the first attempt began
    first_byte_ms: float | None = None
    usage: dict[str, Any] | None = None  # as the upstream gave it
    text: list[str] = field(default_factory=list)  # what was produced, for counting when no usage came
    reasoning: list[str] = field(default_factory=list)
    counted: Any = None  # what the ledger wrote down: api.counting.Usage

    def attempt(
        self, provider: str, model: str, token_id: UUID | None = None, provider_id: int | None = None
    ) -> Attempt:
        """A new attempt, noted."""
        attempt = Attempt(provider, model, token_id, provider_id)
        if self.queue_ms is None:
            self.queue_ms = (attempt.began - self.began) * 1000
        self.attempts.append(attempt)
        return attempt

    @property
    def answered_by(self) -> Attempt | None:
        """The attempt whose answer the caller got, at least in part, or was waiting for when he left."""
        return next((a for a in reversed(self.attempts) if a.outcome in ANSWERING), None)


# --- constructors for adapters whose upstream does not speak OpenAI -----------------------------------------------
def delta(request: ChatRequest, *, finish_reason: str | None = None, **fields: Any) -> Chunk:
    """One streamed chunk: `fields` are the delta's (role, content, reasoning_content, tool_calls)."""
    choice = {"index": 0, "delta": fields, "logprobs": None, "finish_reason": finish_reason}
    return {
        "id": f"chatcmpl-{request.id}",
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": request.model,
        "choices": [choice],
    }


def usage_chunk(request: ChatRequest, usage: dict[str, Any]) -> Chunk:
    """The chunk after the last delta that carries usage: no choices."""
    return delta(request) | {"choices": [], "usage": usage}


def completion(
    request: ChatRequest, message: dict[str, Any], usage: dict[str, Any] | None, finish: str = "stop"
) -> Chunk:
    """One whole answer around `message` ({"content": …} and what else it has)."""
    full = {"role": "assistant", "content": None, "refusal": None} | message
    return {
        "id": f"chatcmpl-{request.id}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": request.model,
        "choices": [{"index": 0, "message": full, "logprobs": None, "finish_reason": finish}],
        "usage": usage,
    }
