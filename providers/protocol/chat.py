"""The types of the request path: ChatRequest, Credential and Trace go down, OpenAI chunks come up.

Down: one `ChatRequest` with the caller's whole body, one `Credential` per attempt, one `Trace` that
failover and strategies write to. Up: a chunk is a plain dict in OpenAI's official schema
(`chat.completion.chunk`, or one whole `chat.completion` when the request does not stream); an async
generator yields lists of the chunks that one read contained. The types are made for each request,
so they are msgspec Structs: like slotted dataclasses, at a fifth of the cost. Source of the schema:
OpenAI's API reference, "Chat completions".
"""

import time
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from msgspec import Struct, field

from providers.upstream.rate_limits import Limit

ANSWERING = ("answered", "running", "cut", "abandoned")
# the recorded reason of a call that was sent again
SENT_AGAIN = "sent again: the kept connection was closed"
Chunk = dict[str, Any]
Batches = AsyncGenerator[list[Chunk], None]

CHAT = "chat/completions"
COMPLETIONS = "completions"
EMBEDDINGS = "embeddings"


class Resume(Struct, frozen=True):
    """The position of a conversation in an upstream's own chat.

    Only the token that started the chat can continue it.
    """

    token_id: UUID
    chat_id: str
    parent_id: str = ""  # the chat's last message


class ChatRequest(Struct, frozen=True):
    """One accepted request.

    `id` is a UUIDv7 as 32 hex digits. `body` is the caller's body, validated, without the fields
    that only the gateway understands, and always with all messages.
    """

    id: str
    endpoint: str  # CHAT, COMPLETIONS or EMBEDDINGS: the path below an upstream's base URL
    model: str  # public id, as the caller wrote it
    body: dict[str, Any]
    stream: bool = False
    include_usage: bool = False  # the caller wants the chunk that carries usage
    thinking: str = ""  # choices.Thinking of the alias or the body; empty: as the model's row says
    search: str = ""  # choices.Search of the alias or the body; empty: as the model's row says
    # user and conversation: its requests use the same token while that is healthy
    conversation: str = ""
    door: str = ""  # the endpoint that the caller used, where it differs from `endpoint`
    keep: bool = False  # an upstream that stores chats should keep this one
    resume: Resume | None = None

    @property
    def asked_at(self) -> str:
        """Return the endpoint that the caller used, as the ledger names it."""
        return self.door or self.endpoint


class UpstreamModel(Struct, frozen=True):
    """One provider's model: the values of a ChatModel row, changed as one request asks."""

    name: str
    thinks: str = "separate"  # choices.Thinks
    thinking: str = "reasoning"  # choices.Thinking
    search: str = ""  # choices.Search
    # "native"; "prompt": a prompt explains how to call tools; "none": it cannot call tools
    tools: str = "native"
    vision: bool = True
    files: bool = False  # True: file parts are sent unchanged; False: their text is sent
    options: dict[str, Any] = {}


class Credential(Struct, frozen=True):
    """The credential of one attempt.

    `token_id` is None and `secret` empty where a provider needs no token.
    """

    token_id: UUID | None
    secret: str

    def __repr__(self) -> str:
        return f"Credential({self.token_id})"


class Fresh(Struct, frozen=True):
    """The result of a refresh or a sign-in.

    `refresh` is the new refresh token; it is empty when there is none or the old one stays valid.
    """

    secret: str
    refresh: str = ""
    expires_at: datetime | None = None

    def __repr__(self) -> str:
        return f"Fresh(expires_at={self.expires_at})"


class Attempt(Struct):
    """One upstream call, or one skipped candidate, and how it ended. Times in milliseconds.

    A request that met a closed connection is sent again on a new one, with the same credential
    (`begin_resend`). These are two upstream calls: `as_dicts` has an entry for each, and code that
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
    limit: Limit | None = None  # set when the answer says that the rate limit is used up
    lacks_call: bool = False  # a tool call was required, and the model made none
    chat_id: str = ""  # of the chat that the upstream stores
    parent_id: str = ""  # of the last message in that chat
    unshown: list[str] | None = None  # thinking that the caller does not get
    more: Callable[[], bool] | None = None  # as in Trace: called before the request is sent again
    may_resend: bool = True  # False: no further upstream call may be made for this attempt
    # the call that met a closed connection, as the ledger stores it
    closed_call: dict[str, Any] | None = None

    @property
    def resent(self) -> bool:
        """Return whether this attempt took two upstream calls."""
        return self.closed_call is not None

    def begin_resend(self) -> bool:
        """Record that the kept connection was closed, and begin a second call.

        Returns False when no more calls are allowed; nothing is recorded then.
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
        """Return one entry of the ledger's `attempts`."""
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
        """Return the entries of the ledger's `attempts`: one for each upstream call."""
        return [self.as_dict()] if self.closed_call is None else [self.closed_call, self.as_dict()]


class Trace(Struct):
    """Everything that happened to one request so far; the ledger saves it once.

    It and its attempts are the only mutable objects on the request path.
    """

    request: ChatRequest
    key_id: int | None = None
    user_id: int | None = None
    started_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat())
    began: float = field(default_factory=time.perf_counter)
    attempts: list[Attempt] = field(default_factory=list)
    queue_ms: float | None = None  # until the first attempt began
    first_byte_ms: float | None = None
    usage: dict[str, Any] | None = None  # as the upstream reported it
    # the text produced, for counting tokens when the upstream reports no usage
    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    kept_bytes: int = 0  # size of both in memory; beyond a limit only lengths are kept
    unkept_text: int = 0  # characters of text that were not kept
    unkept_reasoning: int = 0  # characters of reasoning that were not kept
    # bodies of the requests that a strategy made besides the caller's own
    further: list[dict[str, Any]] | None = None
    counted: Any = None  # the usage that the ledger recorded: api.accounting.token_count.Usage
    # a strategy's intermediate thinking as JSON, shown to the caller or not
    extras: dict[str, Any] | None = None
    # the part of it that the caller gets before the answer proper; it is never sent to a model
    preface: str = ""
    more: Callable[[], bool] | None = None  # counts one more upstream call; None: no limit

    def attempt(
        self,
        provider: str,
        model: str,
        token_id: UUID | None = None,
        provider_id: int | None = None,
    ) -> Attempt:
        """Create an attempt and add it to the trace."""
        attempt = Attempt(provider, model, token_id, provider_id, more=self.more)
        if self.queue_ms is None:
            self.queue_ms = (attempt.began - self.began) * 1000
        self.attempts.append(attempt)
        return attempt

    def may_go_on(self) -> bool:
        """Return whether one more upstream call may be made.

        It is asked before each call but the first. True also counts the call, so the call must be
        made.
        """
        return self.more is None or self.more()

    def attempts_as_dicts(self) -> list[dict[str, Any]]:
        """Return the ledger's `attempts`: an entry for each upstream call or skipped candidate."""
        return [entry for attempt in self.attempts for entry in attempt.as_dicts()]

    @property
    def answered_by(self) -> Attempt | None:
        """Return the attempt that answered the caller, at least in part, or None.

        When the caller has left, it is the attempt whose answer was awaited.
        """
        return next((a for a in reversed(self.attempts) if a.outcome in ANSWERING), None)


# --- constructors for adapters whose upstream does not speak OpenAI -------------------------------
def delta(request: ChatRequest, *, finish_reason: str | None = None, **fields: Any) -> Chunk:
    """Make one streamed chunk.

    `fields` are those of the delta: role, content, reasoning_content, tool_calls.
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
    """Make the chunk with the usage that follows the last delta: it has no choices."""
    return delta(request) | {"choices": [], "usage": usage}


def completion(
    request: ChatRequest,
    message: dict[str, Any],
    usage: dict[str, Any] | None,
    finish: str = "stop",
) -> Chunk:
    """Make one whole answer of `message` ({"content": …} and any further fields)."""
    full = {"role": "assistant", "content": None, "refusal": None} | message
    return {
        "id": f"chatcmpl-{request.id}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": request.model,
        "choices": [{"index": 0, "message": full, "logprobs": None, "finish_reason": finish}],
        "usage": usage,
    }
