"""Find, create, change and delete a user's stored conversations, items, completions and sessions.

No function here calls an upstream. Conversations are found by their `conv_` id, sessions by the
name that the client gave them, completions by the id of the answer. Another user's, an expired and
an unknown one raise the same error. The items of a conversation are those that later turns include:
the items of turns that were completed or cut off.
"""

import re
import uuid
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from conversations import retention
from conversations.files import storage_quota
from conversations.history import finish_turn
from conversations.history.dead_turns import (
    TurnRunning,
    end_dead_turns,
    require_no_running_turn,
)
from conversations.messages import items
from conversations.messages.items import Entry, ItemLike
from conversations.models import (
    RUNNING_STATUSES,
    Conversation,
    ConversationKind,
    EventBatch,
    Item,
    Turn,
    TurnEndpoint,
    TurnStatus,
)
from conversations.models.log import HISTORY_STATUSES, is_in_history
from providers.exceptions import ConversationBusy, UnknownUrl
from providers.protocol.message_text import SYSTEM_ROLES

CONVERSATION_ID = re.compile(r"conv_[0-9a-f]{32}", re.ASCII)
COMPLETION_ID = re.compile(r"chatcmpl-[0-9a-f]{32}", re.ASCII)
SHOWN_ID_CHARS = 64  # characters of an unknown id that an error repeats


# --- conversations --------------------------------------------------------------------------------
def conversations_of(user_id: int) -> QuerySet[Conversation]:
    """Return a user's conversations that have an id of their own."""
    return Conversation.objects.of_user(user_id).without_threads()


def find_conversation(user_id: int, conversation_id: str) -> Conversation:
    """Return a user's own conversation. Raises UnknownUrl."""
    known = CONVERSATION_ID.fullmatch(conversation_id)
    found = conversations_of(user_id).filter(pk=conversation_id).first() if known else None
    if found is None:
        raise unknown_conversation(conversation_id)
    return found


def unknown_conversation(conversation_id: str) -> UnknownUrl:
    return UnknownUrl(
        f"There is no conversation {conversation_id[:SHOWN_ID_CHARS]!r}.",
        param="id",
        code="conversation_not_found",
    )


@transaction.atomic
def create_open_conversation(
    user_id: int, metadata: dict[str, str], entries: Sequence[Entry], idle_seconds: int
) -> Conversation:
    """Create a conversation with these items.

    It is deleted after `idle_seconds` without a turn; 0 means never. Raises InvalidRequest when the
    user's storage is full.
    """
    conversation = Conversation.objects.create(
        user_id=user_id,
        kind=ConversationKind.OPEN,
        metadata=metadata,
        **make_expiry_fields(idle_seconds),
    )
    if entries:
        add_items(conversation, entries)
    return conversation


@transaction.atomic
def add_items(conversation: Conversation, entries: Sequence[Entry]) -> list[Item]:
    """Write items at the end of a conversation, as one turn; return them.

    Raises ConversationBusy, UnknownUrl when the conversation is deleted, InvalidRequest when the
    user's storage is full.
    """
    locked = lock_free_conversation(conversation)
    locked.last += 1
    clean = [entry.make_storable() for entry in entries]
    size = storage_quota.estimate_items_bytes(clean)
    storage_quota.require_storage_room(locked.user_id, size)
    turn = Turn.objects.create(
        conversation=locked,
        user_id=locked.user_id,
        number=locked.last,
        door=TurnEndpoint.ITEMS,
        status=TurnStatus.COMPLETED,
        tokens=finish_turn.estimate_item_tokens(
            entry for entry in clean if entry.role not in SYSTEM_ROLES
        ),
        stored_bytes=size,
        finished_at=timezone.now(),
    )
    finish_turn.write_items(turn, clean, output=False)
    storage_quota.add_bytes_on_commit(locked.user_id, size)
    locked.title = locked.title or finish_turn.make_title(turn)
    finish_turn.save_used_conversation(locked, turn, clean)
    return list(turn.items.order_by("id"))


def make_expiry_fields(idle_seconds: int) -> dict[str, Any]:
    """Return the expiry fields of a new conversation."""
    if not idle_seconds:
        return {"idle_seconds": None, "expires_at": None}
    return {
        "idle_seconds": idle_seconds,
        "expires_at": timezone.now() + timedelta(seconds=idle_seconds),
    }


def lock_free_conversation(conversation: Conversation) -> Conversation:
    """Lock and return the conversation, with no turn running; end dead turns.

    Raises ConversationBusy, UnknownUrl.
    """
    locked = (
        Conversation.objects.of_user(conversation.user_id)
        .select_for_update()
        .filter(pk=conversation.pk)
        .first()
    )
    if locked is None:
        raise unknown_conversation(conversation.pk)
    end_dead_turns(Turn.objects.filter(conversation=locked))
    try:
        require_no_running_turn(locked)
    except TurnRunning:
        raise ConversationBusy(
            "Another request of this conversation is running.", retry_after_seconds=1
        ) from None
    return locked


# --- items ----------------------------------------------------------------------------------------
def items_of(conversation: Conversation) -> QuerySet[Item]:
    return Item.objects.filter(is_in_history("turn"), conversation=conversation)


def find_item(conversation: Conversation, item_id: str) -> Item:
    """Return an item of the conversation by its public id. Raises UnknownUrl."""
    return find_item_among(items_of(conversation), item_id, "item_id")


def find_item_among(rows: QuerySet[Item], item_id: str, param: str) -> Item:
    """Return the item with this public id. Raises UnknownUrl, which names the field `param`."""
    item = rows.filter(public_id=item_id).first()
    if item is None:
        text = f"There is no item {item_id[:SHOWN_ID_CHARS]!r}."
        raise UnknownUrl(text, param=param, code="item_not_found")
    return item


@transaction.atomic
def delete_item(conversation: Conversation, item: Item) -> None:
    """Delete one item, and the stored steps and events of its turn.

    An upstream that keeps the conversation still has the item, so the next turn goes to a new chat.
    The title is cleared if it comes from the item. Raises ConversationBusy, UnknownUrl.
    """
    locked = lock_free_conversation(conversation)
    title = "" if locked.title in " ".join(item.text.split()) else locked.title
    Conversation.objects.filter(pk=locked.pk).update(
        chat_id="", parent_id="", chat_turn=0, token_id=None, title=title
    )
    item.delete()
    transaction.on_commit(retention.purge_search_index)
    left = list(item.turn.items.all())
    weight = finish_turn.estimate_item_tokens(
        entry for entry in left if entry.role not in SYSTEM_ROLES
    )
    size = storage_quota.estimate_items_bytes(left)
    Turn.objects.filter(pk=item.turn_id).update(
        tokens=weight, stored_bytes=size, thought={}, extras={}
    )
    EventBatch.objects.filter(turn=item.turn_id).delete()
    if item.role in SYSTEM_ROLES:
        retention.remove_document_links(conversation)


# --- stored completions ---------------------------------------------------------------------------
def completions_of(user_id: int) -> QuerySet[Turn]:
    """Return a user's stored chat completions that have ended."""
    mine = Conversation.objects.of_user(user_id)
    return Turn.objects.filter(
        user_id=user_id,
        door=TurnEndpoint.CHAT,
        stored=True,
        status__in=HISTORY_STATUSES,
        conversation__in=mine,
    )


def find_completion(user_id: int, completion_id: str) -> Turn:
    """Return a user's stored completion by its id. Raises UnknownUrl."""
    found = None
    if COMPLETION_ID.fullmatch(completion_id):
        key = uuid.UUID(hex=completion_id.removeprefix("chatcmpl-"))
        found = completions_of(user_id).filter(pk=key).first()
    if found is None:
        raise UnknownUrl(
            f"There is no stored chat completion {completion_id[:SHOWN_ID_CHARS]!r}.",
            param="id",
            code="completion_not_found",
        )
    return found


def unknown_message(message_id: str) -> UnknownUrl:
    return UnknownUrl(
        f"There is no message {message_id[:SHOWN_ID_CHARS]!r}.",
        param="after",
        code="message_not_found",
    )


@transaction.atomic
def delete_completion(turn: Turn) -> None:
    """Delete a stored completion: it can no longer be retrieved.

    A completion that is still running is deleted and never written. In a named conversation only
    the `stored` mark is removed, and its items stay. In a thread the items are deleted; the turn's
    row stays if other turns follow it.
    """
    thread = Conversation.objects.select_for_update().get(pk=turn.conversation_id)
    row = Turn.objects.filter(pk=turn.pk)
    if thread.kind != ConversationKind.THREAD:
        row.update(stored=False)
    elif not turn.branches.exists() and not thread.turns.exclude(pk=turn.pk).exists():
        retention.delete_conversations(Conversation.objects.filter(pk=thread.pk))
    elif row.filter(status__in=RUNNING_STATUSES).exists():
        turn.delete()
    else:
        turn.items.all().delete()
        EventBatch.objects.filter(turn=turn).delete()
        Conversation.objects.filter(pk=thread.pk).update(title="")
        nothing: dict[str, Any] = {"metadata": {}, "settings": {}, "extras": {}, "thought": {}}
        row.update(stored=False, **nothing, usage=None, error=None, tokens=0, stored_bytes=0)
        transaction.on_commit(retention.purge_search_index)


def render_answer(output: Iterable[ItemLike]) -> dict[str, Any]:
    """Return the message of a stored completion's first choice, as its caller received it.

    `output` are the items of the answer. Unlike `items.to_messages`, which is for upstreams, this
    includes all reasoning, and also calls that were cut off.
    """
    message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None}
    for item in output:
        if item.type == "reasoning":
            thinking = items.read_thinking(item.data)
            message["reasoning_content"] = message.get("reasoning_content", "") + thinking
        elif item.type == "message":
            add_parts(message, item.data.get("content") or [])
        elif item.type in items.CALL_TYPES:
            message.setdefault("tool_calls", []).append(items.read_tool_call(item.data))
    return message


def add_parts(message: dict[str, Any], parts: Sequence[dict[str, Any]]) -> None:
    """Add texts, refusals and annotations of an item to the message of a completion."""
    texts = [part["text"] for part in parts if isinstance(part.get("text"), str)]
    if texts:
        message["content"] = (message["content"] or "") + "".join(texts)
    message["refusal"] = items.read_refusal(parts) or message["refusal"]
    annotations = [note for part in parts for note in part.get("annotations") or ()]
    if annotations:
        message["annotations"] = [*message.get("annotations", ()), *annotations]


# --- sessions -------------------------------------------------------------------------------------
def sessions_of(user_id: int) -> QuerySet[Conversation]:
    """Return a user's conversations that the client has named, through whichever endpoint."""
    return Conversation.objects.of_user(user_id).filter(kind=ConversationKind.NAMED)


def find_session(user_id: int, name: str) -> Conversation:
    """Return a user's session by its name. Raises UnknownUrl."""
    session = sessions_of(user_id).filter(name=name).first()
    if session is None:
        text = f"There is no session {name[:SHOWN_ID_CHARS]!r}."
        raise UnknownUrl(text, param="session_id", code="session_not_found")
    return session


@transaction.atomic
def find_or_create_session(user_id: int, name: str, idle_seconds: int) -> Conversation:
    """Return the user's session of this name; create it if there is none.

    An expired session of the same name is deleted first.
    """
    mine = Conversation.objects.filter(user_id=user_id, name=name)
    retention.delete_conversations(mine.expired())
    session, _ = mine.get_or_create(
        defaults={
            "user_id": user_id,
            "kind": ConversationKind.NAMED,
            "name": name,
            **make_expiry_fields(idle_seconds),
        }
    )
    return session
