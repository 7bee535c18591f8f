"""Add the uses of tokens to the counters of their rows, without waiting for locked rows."""

from uuid import UUID

from django.db import connection

from tokens.models import UpstreamToken
from tokens.pool.state_changes import UseCount

COUNT_POSTGRES = """
    WITH counted AS (
        SELECT * FROM unnest(%s::uuid[], %s::bigint[], %s::bigint[]) AS c (id, requests, failures)
    ),
    free AS (
        SELECT id FROM tokens_upstreamtoken WHERE id = ANY(%s::uuid[])
        ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
    )
    UPDATE tokens_upstreamtoken AS token
    SET requests = token.requests + counted.requests, failures = token.failures + counted.failures,
        last_used_at = statement_timestamp()
    FROM counted JOIN free USING (id) WHERE token.id = counted.id
    RETURNING token.id
"""
COUNT_SQLITE = """
    UPDATE tokens_upstreamtoken SET requests = requests + %s, failures = failures + %s,
        last_used_at = strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now')
    WHERE id = %s
"""


def add_counters(rows: list[UseCount]) -> set[UUID]:
    """Add to the counters, and return the tokens whose rows others have locked."""
    if not rows:
        return set()
    if connection.vendor == "postgresql":
        return _add_counters_on_postgres(sorted(rows))
    _add_counters_on_sqlite(sorted(rows))
    return set()


def _add_counters_on_postgres(rows: list[UseCount]) -> set[UUID]:
    token_ids, requests, failures = (list(column) for column in zip(*rows, strict=True))
    with connection.cursor() as cursor:
        cursor.execute(COUNT_POSTGRES, [token_ids, requests, failures, token_ids])
        counted_ids = {token_id for (token_id,) in cursor.fetchall()}
    return find_existing_tokens(set(token_ids) - counted_ids)


def _add_counters_on_sqlite(rows: list[UseCount]) -> None:
    key = UpstreamToken._meta.pk
    values = [
        (row.requests, row.failures, key.get_db_prep_value(row.token_id, connection))
        for row in rows
    ]
    with connection.cursor() as cursor:
        cursor.executemany(COUNT_SQLITE, values)


def find_existing_tokens(ids: set[UUID]) -> set[UUID]:
    """Return those of the ids that tokens still have."""
    if not ids:
        return set()
    return set(UpstreamToken.objects.filter(pk__in=ids).values_list("pk", flat=True))
