"""Turns of a conversation: requests that make one, and the rows that they leave."""

from api.tests.endpoints.chat_messages import user_message
from conversations.models import Item, Turn
from providers.database.database_threads import run_in_thread

CHAT = "/v1/chat/completions"

REMEMBER = {"x-remember-session": "true"}  # `session_id` names a conversation


async def send_turn(gateway, person, text, path=CHAT, **more):
    """Ask a question that makes a turn, and wait for the whole answer."""
    return await gateway.send_request(
        "POST",
        path,
        person.key,
        json={"model": "m", "messages": [user_message(text)], **more},
        headers=REMEMBER,
    )


async def list_turns():
    """Return the rows of all turns."""
    return await run_in_thread(lambda: list(Turn.objects.order_by("number")))


async def list_items():
    """Return the rows of all items."""
    return await run_in_thread(lambda: list(Item.objects.order_by("id")))
