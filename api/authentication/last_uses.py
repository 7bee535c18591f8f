"""The times at which API keys were last used."""

from datetime import datetime

from django.db import connection

LAST_USE_SQLITE = "UPDATE api_apikey SET last_used_at = %s WHERE id = %s"
LAST_USE_POSTGRES = """
    WITH used AS (SELECT * FROM unnest(%s::bigint[], %s::timestamptz[]) AS u (id, at)),
    free AS (
        SELECT id FROM api_apikey WHERE id = ANY(%s::bigint[])
        ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
    )
    UPDATE api_apikey AS key SET last_used_at = greatest(key.last_used_at, used.at)
    FROM used JOIN free USING (id) WHERE key.id = used.id
"""


def record_last_uses(last_uses: dict[int, datetime]) -> None:
    """Write the last uses of keys in one statement, in the order of the keys.

    Runs in a database thread. A row that is locked is skipped: its next use is written later.
    """
    rows = sorted(last_uses.items())
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            key_ids = [key_id for key_id, _ in rows]
            times = [used_at for _, used_at in rows]
            cursor.execute(LAST_USE_POSTGRES, [key_ids, times, key_ids])
        else:
            adapt = connection.ops.adapt_datetimefield_value
            parameters = [(adapt(used_at), key_id) for key_id, used_at in rows]
            cursor.executemany(LAST_USE_SQLITE, parameters)
