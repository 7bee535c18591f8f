"""A stored turn as a chat request, so that the playground can run it again on other models.

Nothing is written: the new answer is not part of the conversation.
"""

from typing import NamedTuple
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import Q
from django.db.models.functions import Now

from conversations.history.context import find_instructing_turn, load_context, read_item_rows
from conversations.messages.items import ItemLike
from conversations.messages.items_to_chat import entries_to_messages
from conversations.models import Item, Turn
from providers.protocol.json_types import JsonObject
from providers.protocol.message_text import SYSTEM_ROLES

READ_CONTENT_PERMISSIONS = ("conversations.view_conversation", "conversations.read_content")
# options of a stored turn that the playground has fields for
OPTION_NAMES = (
    "temperature",
    "top_p",
    "max_tokens",
    "max_completion_tokens",
    "reasoning_effort",
    "response_format",
    "tools",
    "tool_choice",
)


class StoredFileLeft(NamedTuple):
    """A text in place of a file that only its owner's key can read."""

    file_id: str

    def render_part(self) -> JsonObject:
        return {"type": "text", "text": f"[The file {self.file_id} is left out.]"}


def can_read_turn(user: User, turn: Turn) -> bool:
    """Return whether a user may read a turn: an own one, or as staff that may read content."""
    if turn.user_id == user.pk:
        return True
    return user.is_staff and user.has_perms(READ_CONTENT_PERMISSIONS)


def find_turn(user: User, turn_id: UUID) -> Turn | None:
    """Return the turn if the user may read it, else None: also when it was deleted or expired."""
    is_alive = Q(conversation__expires_at=None) | Q(conversation__expires_at__gt=Now())
    turn = Turn.objects.select_related("conversation").filter(is_alive, pk=turn_id).first()
    return turn if turn is not None and can_read_turn(user, turn) else None


def build_turn_report(turn: Turn, *, is_own: bool) -> JsonObject:
    """Return the messages that the turn answered, its options, and the answer that it got."""
    messages = load_messages(turn)
    if not is_own:
        leave_out_files(messages)
    answer = entries_to_messages(read_turn_items(turn, output=True))
    return {
        "conversation_id": turn.conversation_id,
        "number": turn.number,
        "request_id": f"req_{turn.pk.hex}",
        "model": turn.model,
        "options": {name: turn.settings[name] for name in OPTION_NAMES if name in turn.settings},
        "messages": messages,
        "answer": answer,
    }


def load_messages(turn: Turn) -> list[JsonObject]:
    """Return the chat messages of a turn's request: instructions, earlier turns, its own input."""
    own_items = read_turn_items(turn, output=False)
    earlier = load_context(
        turn.conversation, settings.PLAYGROUND_TURN_TOKENS, last_number=turn.number - 1
    )
    own_instructions = [item for item in own_items if item.role in SYSTEM_ROLES]
    instructions = own_instructions or load_instructions(turn)
    questions = [item for item in own_items if item.role not in SYSTEM_ROLES]
    return entries_to_messages([*instructions, *earlier.items, *questions])


def load_instructions(turn: Turn) -> list[ItemLike]:
    """Return the instructions that were in force before a turn that has none of its own."""
    turn_id = find_instructing_turn(turn.conversation, turn.number - 1)
    rows = Item.objects.filter(turn=turn_id, role__in=SYSTEM_ROLES).order_by("pk")
    return list[ItemLike](read_item_rows(rows)) if turn_id is not None else []


def read_turn_items(turn: Turn, *, output: bool) -> list[ItemLike]:
    """Return the items that a turn was sent, or those that its model made."""
    return list[ItemLike](read_item_rows(turn.items.filter(output=output).order_by("pk")))


def leave_out_files(messages: list[JsonObject]) -> None:
    """Replace, in place, the stored files of another user by a text that names them."""
    for message in messages:
        if not isinstance(message.get("content"), list):
            continue
        message["content"] = [replace_stored_file(part) for part in message["content"]]


def replace_stored_file(part: JsonObject) -> JsonObject:
    """Return the part, or a text in place of a stored file."""
    file_id = (part.get("file") or {}).get("file_id") if part.get("type") == "file" else None
    return StoredFileLeft(str(file_id)).render_part() if file_id else part
