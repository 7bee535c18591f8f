"""The vocabulary of a request: what goes down (ChatRequest, Credential, Trace) and what comes up
(OpenAI chunks).

Down: one `ChatRequest` with the caller's whole body, one `Credential` per attempt, one `Trace` that
failover and strategies write into. Up: a chunk is a plain dict in OpenAI's official schema
(`chat.completion.chunk`, or one whole `chat.completion` when the request does not stream); what an
async generator yields is the list of chunks that one read brought. What goes down is made per
request, so it is msgspec Structs: like slotted dataclasses, at a fifth of the cost. Source of the
shapes: OpenAI's API reference, "Chat completions".
"""

import time
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from msgspec import Struct, field

from providers.upstream.rate_limits import Limit

ANSWERING = ("answered", "running", "cut", "abandoned")
SENT_AGAIN = (
    "sent again: the kept connection was closed"  # reason of a call that another one replaced
)
Chunk = dict[str, Any]
Batches = AsyncGenerator[list[Chunk], None]

CHAT = "chat/completions"
COMPLETIONS = "completions"
EMBEDDINGS = "embeddings"


class Resume(Struct, frozen=True):
    """Where a conversation stands at an upstream that keeps it: only the token that began it can go
    on.
    """

    token_id: UUID
    chat_id: str
    parent_id: str = ""  # the last message there


class ChatRequest(Struct, frozen=True):
    """One accepted request. `id` is a UUIDv7 as 32 hex digits; `body` is the caller's, validated,
    without the fields that are ours, and always with all messages.
    """

    id: str
    endpoint: str  # CHAT, COMPLETIONS or EMBEDDINGS: the path below an upstream's base URL
    model: str  # public id, as the caller wrote it
    body: dict[str, Any]
    stream: bool = False
    include_usage: bool = False  # the caller wants the chunk that carries usage
    thinking: str = (
        ""  # choices.Thinking, asked for by the alias or the body; empty: as the model's row says
    )
    search: str = ""  # choices.Search, likewise
    conversation: str = (
        ""  # whose it is and which: its requests stay with one token while that is healthy
    )
    door: str = ""  # what the caller asked, where that is not the endpoint
    keep: bool = False  # an upstream that keeps chats is to keep this one
    resume: Resume | None = None

    @property
    def asked_at(self) -> str:
        """The door, as the ledger calls it."""
        return self.door or self.endpoint


class UpstreamModel(Struct, frozen=True):
    """One provider's model as its adapter is asked for it: the values of a ChatModel row, as one
    request wants them.
    """

    name: str
    thinks: str = "separate"  # choices.Thinks
    thinking: str = "reasoning"  # choices.Thinking
    search: str = ""  # choices.Search
    tools: str = (
        "native"  # "prompt": the model is told in words how to call them; "none": it cannot
    )
    vision: bool = True
    files: bool = False  # file parts go up as they are; else their text goes into the context
    options: dict[str, Any] = {}


class Credential(Struct, frozen=True):
    """Who we are to an upstream for one attempt; `token_id` None and an empty secret where a
    provider needs none.
    """

    token_id: UUID | None
    secret: str

    def __repr__(self) -> str:
        return f"Credential({self.token_id})"


class Fresh(Struct, frozen=True):
    """What a refresh or a sign-in brought. `refresh` is empty when there is none or the old one
    stays good.
    """

    secret: str
    refresh: str = ""
    expires_at: datetime | None = None

    def __repr__(self) -> str:
        return f"Fresh(expires_at={self.expires_at})"


class Attempt(Struct):
    """One upstream call or one candidate passed over: what it was and how it ended. Times in
    milliseconds.

    A request that met a closed connection is sent again on a new one, with the same credential
    (`begin_resend`). These are two upstream calls: `as_dicts` has an entry for each, and whoever
    counts calls adds one for `resent`.
    """

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
    limit: Limit | None = None  # the answer said that nothing is left for now
    lacks_call: bool = False  # a tool had to be called, and the model did not
    chat_id: str = ""  # of the conversation that the upstream keeps
    parent_id: str = ""  # its last message there
    unshown: list[str] | None = None  # thinking that was produced and is kept from the caller
    more: Callable[[], bool] | None = None  # as in Trace: asked before the request is sent again
    may_resend: bool = True  # False: no further upstream call may be made for this attempt
    closed_call: dict[str, Any] | None = (
        None  # the call that met a closed connection, as the ledger stores it
    )

    @property
    def resent(self) -> bool:
        """Whether this attempt took two upstream calls."""
        return self.closed_call is not None

    def begin_resend(self) -> bool:
        """Note that the kept connection was closed, and begin a second call. False: no more calls
        are allowed.
        """
        if self.resent or not self.may_resend or (self.more is not None and not self.more()):
            return False
        total_ms = (time.perf_counter() - self.began) * 1000
        ended = {"outcome": "Disconnected", "reason": SENT_AGAIN, "total_ms": total_ms}
        self.closed_call = self.as_dict() | ended
        self.began = time.perf_counter()
        self.connect_ms = None
        return True

    def end(self, outcome: str, reason: str = "", status: int | None = None) -> None:
        self.outcome = outcome
        self.reason = reason
        self.status = status
        self.total_ms = (time.perf_counter() - self.began) * 1000

    def as_dict(self) -> dict[str, Any]:
        """The shape of one entry of the ledger's `attempts`."""
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

    def as_dicts(self) -> list[dict[str, Any]]:
        """Its entries in the ledger: one for each upstream call."""
        return [self.as_dict()] if self.closed_call is None else [self.closed_call, self.as_dict()]


class Trace(Struct):
    """What happened to one request so far; the ledger writes it down once. The one mutable thing on
    the path.
    """

    request: ChatRequest
    key_id: int | None = None
    user_id: int | None = None
    started_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat())
    began: float = field(default_factory=time.perf_counter)
    attempts: list[Attempt] = field(default_factory=list)
    queue_ms: float | None = None  # until the first attempt began
    first_byte_ms: float | None = None
    usage: dict[str, Any] | None = None  # as the upstream gave it
    text: list[str] = field(
        default_factory=list
    )  # what was produced, for counting when no usage came
    reasoning: list[str] = field(default_factory=list)
    kept_bytes: int = 0  # what both take in memory; beyond a limit only lengths are kept
    unkept_text: int = 0  # characters
    unkept_reasoning: int = 0
    further: list[dict[str, Any]] | None = (
        None  # bodies of questions that a strategy asked besides the request's own
    )
    counted: Any = None  # what the ledger wrote down: api.accounting.token_count.Usage
    extras: dict[str, Any] | None = (
        None  # what a strategy thought on the way, JSON, whether or not it was shown
    )
    # of it, what the caller gets in the text before the answer proper: not told to a model again
    preface: str = ""
    more: Callable[[], bool] | None = None  # takes one more upstream call; None: there is no limit

    def attempt(
        self,
        provider: str,
        model: str,
        token_id: UUID | None = None,
        provider_id: int | None = None,
    ) -> Attempt:
        """A new attempt, noted."""
        attempt = Attempt(provider, model, token_id, provider_id, more=self.more)
        if self.queue_ms is None:
            self.queue_ms = (attempt.began - self.began) * 1000
        self.attempts.append(attempt)
        return attempt

    def may_go_on(self) -> bool:
        """Whether one more upstream call may be made; asked before each but the first, and then it
        is made.
        """
        return self.more is None or self.more()

    def attempts_as_dicts(self) -> list[dict[str, Any]]:
        """What the ledger stores of the attempts: one entry for each upstream call or candidate
        passed over.
        """
        return [entry for attempt in self.attempts for entry in attempt.as_dicts()]

    @property
    def answered_by(self) -> Attempt | None:
        """The attempt whose answer the caller got, at least in part, or was waiting for when he
        left.
        """
        return next((a for a in reversed(self.attempts) if a.outcome in ANSWERING), None)


# --- constructors for adapters whose upstream does not speak OpenAI -------------------------------
def delta(request: ChatRequest, *, finish_reason: str | None = None, **fields: Any) -> Chunk:
    """One streamed chunk: `fields` are the delta's (role, content, reasoning_content,
    tool_calls).
    """
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
    request: ChatRequest,
    message: dict[str, Any],
    usage: dict[str, Any] | None,
    finish: str = "stop",
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
