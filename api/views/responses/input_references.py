"""The items of a request's input as the gateway works with them: references are resolved."""

from api.authentication import Caller
from api.responses.request import encrypted_reasoning, input_items
from conversations.models import Conversation, Item
from providers.database.database_threads import TURNS, await_in_time
from providers.protocol.json_types import JsonObject


async def resolve_references(caller: Caller, body: JsonObject) -> JsonObject:
    """Return the body with the caller's own items in place of references to them.

    Raises InvalidRequest, DatabaseUnavailable.
    """
    references = input_items.find_item_references(body)
    if references:
        ids = list(references.values())
        work = await TURNS.start_work(caller.user_id, find_own_items, caller, ids)
        body = input_items.resolve_item_references(body, await await_in_time(work))
    body = encrypted_reasoning.decode_input_reasoning(body)
    return input_items.drop_hosted_outputs(body)


def find_own_items(caller: Caller, item_ids: list[str]) -> dict[str, JsonObject]:
    """Return a user's own items by their ids; runs in a database thread."""
    own_conversations = Conversation.objects.of_user(caller.user_id or 0)
    own_items = Item.objects.filter(public_id__in=item_ids, conversation__in=own_conversations)
    return {item.public_id: dict(item.as_openai()) for item in own_items}
