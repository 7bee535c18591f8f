"""A short stream and its parts."""

from providers.database.database_threads import run_in_thread
from providers.models import Provider
from proxysite.testing import speech

EVENT_STREAM = {"content-type": "text/event-stream"}
HELLO = speech.content_chunks("Hello", " there")
STOP = speech.chat_chunk(finish="stop")


async def update_providers(gateway, **fields):
    """Change the rows of all providers, which the gateway loads."""
    await run_in_thread(Provider.objects.update, **fields)
    await gateway.reload_rows()
