"""The types that go down the request path: ChatRequest, UpstreamModel and Credential.

They are made for each request, so they are msgspec Structs: like slotted dataclasses, at a fifth of
the cost.
"""

from datetime import datetime
from uuid import UUID

from msgspec import Struct, field, structs

from providers.protocol.dialect import Dialect
from providers.protocol.json_types import FrozenJsonObject, JsonObject
from providers.protocol.relayed_request import TEXT_FIELDS, UploadedForm

CHAT = "chat/completions"
COMPLETIONS = "completions"
EMBEDDINGS = "embeddings"
MESSAGES = "messages"  # the name of the endpoint of Anthropic's Messages API, for callers
ANTHROPIC = "anthropic"  # the dialect of Anthropic's Messages API


class Resume(Struct, frozen=True):
    """The position of a conversation in an upstream's own chat.

    Only the token that started the chat can continue it.
    """

    token_id: UUID
    chat_id: str
    parent_id: str = ""  # the chat's last message


class OriginalBody(Struct, frozen=True):
    """The caller's own body, where it is written in another dialect than chat completions.

    `ChatRequest.body` says the same as a chat body, for every upstream. An adapter of the caller's
    dialect sends this one instead, so that nothing changes that the two dialects say differently:
    signatures of thinking, cache marks, documents, switches of beta versions.
    """

    dialect: str  # ANTHROPIC
    body: FrozenJsonObject
    # those that an upstream of the dialect gets too, with lower-case names: anthropic-beta, …
    headers: tuple[tuple[str, str], ...] = ()


class ChatRequest(Struct, frozen=True):
    """One accepted request.

    `id` is a UUIDv7 as 32 hex digits. `body` is the caller's body, validated, without the fields
    that only the gateway understands, and always with all messages.
    """

    id: str
    # CHAT, COMPLETIONS, EMBEDDINGS or one of `relayed_request`: the path below a base URL
    endpoint: str
    model: str  # public id, as the caller wrote it
    body: FrozenJsonObject
    stream: bool = False
    include_usage: bool = False  # the caller wants the chunk that carries usage
    thinking: str = ""  # choices.Thinking of the alias or the body; empty: as the model's row says
    search: str = ""  # choices.Search of the alias; empty: as the model's row says
    wants_search: bool = False  # the body asks for a web search; row and alias decide before it
    long_prompts: str = ""  # choices.LongPrompts of the body; empty: as the model's row says
    # user and conversation: its requests use the same token while that is healthy
    conversation: str = ""
    caller_endpoint: str = ""  # the endpoint that the caller used, where it differs from `endpoint`
    wants_stored_chat: bool = False  # an upstream that stores chats should keep this one
    resume: Resume | None = None
    original: OriginalBody | None = None  # None: the caller wrote a chat body
    # of a relayed request that is no JSON; `body` then has its fields without its files
    form: UploadedForm | None = None

    def with_body(self, body: FrozenJsonObject) -> "ChatRequest":
        """Return the same request with another body, which replaces the original one too."""
        return structs.replace(self, body=body, original=None)

    def from_endpoint(self, name: str) -> "ChatRequest":
        """Return the same request of a caller who used the endpoint of this name."""
        return structs.replace(self, caller_endpoint=name)

    @property
    def choice_count(self) -> int:
        """Return how many choices the answer has: `n`, of a legacy completion for each prompt."""
        count = self.body.get("n") or 1
        prompt = self.body.get("prompt") if self.endpoint == COMPLETIONS else None
        if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int):
            count *= len(prompt)
        return int(count)

    @property
    def counted_body(self) -> FrozenJsonObject:
        """Return the part of the body whose tokens are counted: of a relayed one its texts."""
        fields = TEXT_FIELDS.get(self.endpoint)
        if fields is None:
            return self.body
        return {name: self.body[name] for name in fields if name in self.body}

    @property
    def ledger_endpoint(self) -> str:
        """Return the endpoint that the caller used, as the ledger names it."""
        return self.caller_endpoint or self.endpoint


class ThinkingHabits(Struct):
    """Observations of this process about where a model puts its thinking."""

    # with instructions of the caller it thinks in its text all the same, without an opening tag
    omits_opening_tag: bool = False


class UpstreamModel(Struct, frozen=True):
    """One provider's model: the values of a ChatModel row, changed as one request asks."""

    name: str
    thinking_format: str = "separate"  # choices.ThinkingFormat
    thinking: str = "reasoning"  # choices.Thinking
    search: str = ""  # choices.Search
    # "native"; "prompt": a prompt explains how to call tools; "none": it cannot call tools
    tools: str = "native"
    vision: bool = True
    files: bool = False  # True: file parts are sent unchanged; False: their text is sent
    options: JsonObject = {}
    dialect: Dialect = Dialect()
    thinking_habits: ThinkingHabits = field(default_factory=ThinkingHabits)


class Credential(Struct, frozen=True):
    """The credential of one attempt.

    `token_id` is None and `secret` empty where a provider needs no token.
    """

    token_id: UUID | None
    secret: str

    def __repr__(self) -> str:
        return f"Credential({self.token_id})"


class NewCredential(Struct, frozen=True):
    """The result of a refresh or a sign-in.

    `refresh_token` is the new refresh token; it is empty when there is none or the old one stays
    valid.
    """

    secret: str
    refresh_token: str = ""
    expires_at: datetime | None = None

    def __repr__(self) -> str:
        return f"NewCredential(expires_at={self.expires_at})"
