"""Set the dialect of the provider that the fixtures make."""

from providers.database.database_threads import run_in_thread
from providers.models import Provider


async def use_dialect(gateway, name: str, **changes) -> None:
    await run_in_thread(Provider.objects.update, dialect=name, dialect_changes=changes)
    await gateway.reload_rows()
