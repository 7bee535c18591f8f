"""Read the facts for the plan of a request from the database, all in one database thread."""

from contextlib import suppress
from uuid import UUID

from msgspec import Struct

from api.authentication import Caller
from api.responses.request.schema import find_conversation_id
from api.server_tools.approvals import find_unknown_ids
from api.server_tools.search_tools import find_unknown_id
from conversations.documents.passage_search import DocumentScope
from conversations.models import Conversation, Item
from providers.database.database_threads import TURNS, await_in_time
from providers.mcp.mcp_servers import UsableServer, list_usable_servers
from providers.protocol.json_types import JsonObject

LIST_TYPE = "mcp_list_tools"
MOST_LISTS = 100


class StoredFacts(Struct, frozen=True):
    """The facts; `unknown_id` is that of a file to be searched which is not the caller's."""

    servers: list[UsableServer] = []
    approval_requests: dict[str, JsonObject] = {}
    listed_labels: frozenset[str] = frozenset()  # of lists that the conversation has already
    unknown_id: str = ""


async def read_facts(caller: Caller, body: JsonObject, scope: DocumentScope) -> StoredFacts:
    """Return the facts for a request body. Raises DatabaseUnavailable."""
    owner = caller.user_id or 0
    work = await TURNS.start_work(owner, read_stored_facts, caller.user_id, body, scope)
    return await await_in_time(work)


def read_stored_facts(user_id: int | None, body: JsonObject, scope: DocumentScope) -> StoredFacts:
    """Return the facts; for a database thread."""
    requests: dict[str, JsonObject] = {}
    if ids := find_unknown_ids(body):
        own_conversations = Conversation.objects.of_user(user_id or 0)
        rows = Item.objects.filter(public_id__in=ids, conversation__in=own_conversations)
        requests = {row.public_id: dict(row.as_openai()) for row in rows}
    return StoredFacts(
        list_usable_servers(user_id),
        requests,
        find_listed_labels(user_id, body),
        find_unknown_id(user_id, scope),
    )


def find_listed_labels(user_id: int | None, body: JsonObject) -> frozenset[str]:
    """Return the servers whose lists of tools the conversation has already: the caller has them."""
    items = body.get("input")
    lists = [
        item
        for item in (items if isinstance(items, list) else ())
        if item.get("type") == LIST_TYPE and not item.get("error")
    ]
    stored = Item.objects.none()
    if conversation_id := find_conversation_id(body):
        stored = Item.objects.filter(conversation_id=conversation_id)
    elif turn_hex := str(body.get("previous_response_id") or "").removeprefix("resp_"):
        with suppress(ValueError):
            stored = Item.objects.filter(conversation__turns=UUID(turn_hex))
    stored = stored.filter(type=LIST_TYPE, status="completed", conversation__user_id=user_id or 0)
    lists += stored.values_list("data", flat=True)[:MOST_LISTS]
    return frozenset(str(item.get("server_label")) for item in lists)
