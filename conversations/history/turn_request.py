"""A request that is to be remembered as a turn of a conversation."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from conversations.messages.items import Entry
from conversations.messages.items_to_chat import SAME_NAMES
from conversations.messages.tool_names import ToolNames
from conversations.models import TurnEndpoint
from providers.protocol.json_types import JsonObject
from providers.protocol.message_text import SYSTEM_ROLES


@dataclass(frozen=True, slots=True)
class TurnRequest:
    """A request to be remembered, as its endpoint describes it.

    `entries` are the request's items; they may repeat the end of the history. At most one of
    `name`, `conversation_id` and `previous_id` is given. Without them a new thread starts.
    """

    request_id: str  # 32 hex digits
    user_id: int
    endpoint: TurnEndpoint
    model: str
    entries: list[Entry]
    name: str = ""  # the client's own id; the first use creates the conversation
    conversation_id: str = ""  # conv_…
    previous_id: str = ""  # resp_… or chatcmpl-…
    stored: bool = False
    background: bool = False
    idle_seconds: int = 0  # a new conversation is deleted after so long; 0: never
    metadata: dict[str, str] = field(default_factory=dict)
    settings: JsonObject = field(default_factory=dict)
    budget_tokens: int = 0  # tokens that the whole prompt may have
    tool_names: ToolNames = SAME_NAMES  # names of the tools in the prompt and its answer

    @property
    def instructions(self) -> list[Entry]:
        """Return the request's own system messages."""
        return [entry for entry in self.entries if entry.role in SYSTEM_ROLES]


def exclude_instructions(entries: Sequence[Entry]) -> list[Entry]:
    """Return the items that are no instructions."""
    return [entry for entry in entries if entry.role not in SYSTEM_ROLES]
