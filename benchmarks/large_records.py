"""The statement that makes millions of usage records inside the database.

Keys, models and tokens are chosen at random: a few keys do most, a key has three models, a model
one provider, and each request takes any token of that provider.
"""

from dataclasses import dataclass
from datetime import datetime

COLUMNS = (
    "id, started_at, key_id, user_id, team_id, model, provider_id, token_id, endpoint, stream, "
    "status, http_status, error_code, attempts, prompt_tokens, completion_tokens, "
    "reasoning_tokens, cached_tokens, estimated, cost_micro_usd, queue_ms, connect_ms, "
    "first_byte_ms, total_ms"
)
# ids of tokens are their numbers; of a provider they are one block
STATEMENT = """
    INSERT INTO api_usagerecord ({columns})
    WITH RECURSIVE {series}, dice AS (
        SELECT i, {random} AS r1, {random} AS r2, {random} AS r3, {random} AS r4, {random} AS r5,
            {random} AS r6
        FROM series
    ), chosen AS (
        SELECT i, r4, r5, r6, {first_key} + {whole_1} AS key_id, {whole_1} AS key_number,
            {whole_2} AS choice, r3
        FROM dice
    ), placed AS (
        SELECT *, (key_number + choice) % {models} AS model_number,
            (key_number + choice) % {models} % {providers} AS provider_number
        FROM chosen
    )
    SELECT {id}, {started_at}, key_id, {first_user} + key_number % {users},
        {first_team} + key_number % {teams}, 'model-' || model_number,
        {first_provider} + provider_number,
        CASE WHEN r4 < 0.98 THEN {token} END, 'chat/completions', {true},
        CASE WHEN r4 < 0.95 THEN 'complete' WHEN r4 < 0.98 THEN 'error'
            WHEN r4 < 0.985 THEN 'abandoned' WHEN r4 < 0.99 THEN 'truncated' ELSE 'refused' END,
        CASE WHEN r4 < 0.95 THEN 200 WHEN r4 < 0.96 THEN 400 WHEN r4 < 0.98 THEN 502
            WHEN r4 < 0.985 THEN 499 WHEN r4 < 0.99 THEN 502 ELSE 429 END,
        CASE WHEN r4 < 0.95 THEN '' WHEN r4 < 0.96 THEN 'invalid_value'
            WHEN r4 < 0.978 THEN 'upstream_failed' WHEN r4 < 0.98 THEN 'internal_error'
            WHEN r4 < 0.985 THEN '' WHEN r4 < 0.99 THEN 'upstream_disconnected'
            ELSE 'rate_limit_exceeded' END,
        {attempts}, {prompt}, {completion}, 0, {cached}, {false},
        CASE WHEN r5 > 0.02 AND r4 < 0.99 THEN {cost} END, 0.2, 1.5,
        150 + 4000 * r6 * r6 * r6, 400 + 30000 * r5 * r6
    FROM placed
"""
ATTEMPT = (
    '[{"provider": "provider-1", "model": "upstream-model", "token": null, "outcome": "answered", '
    '"reason": "", "status": 200, "connect_ms": 1.5, "first_byte_ms": 250.5, "total_ms": 900.5}]'
)


@dataclass(frozen=True, slots=True)
class RecordShape:
    """How many records there are, from when on, and the rows that they name, by first id."""

    records: int
    begin: datetime
    days: int
    keys: int
    users: int
    teams: int
    models: int
    providers: int
    tokens: int
    first_key: int
    first_user: int
    first_team: int
    first_provider: int

    @property
    def tokens_of_provider(self) -> int:
        return self.tokens // self.providers


def render_insert(vendor: str, shape: RecordShape) -> str:
    """Return the statement that makes the records."""
    milliseconds = (
        f"({int(shape.begin.timestamp() * 1000)} + i * {shape.days * 86_400_000 / shape.records!r})"
    )
    is_postgres = vendor == "postgresql"

    def whole(product: str) -> str:
        return f"CAST(floor({product}) AS bigint)" if is_postgres else f"CAST({product} AS INTEGER)"

    token_number = f"(provider_number * {shape.tokens_of_provider} + "
    token_number += f"{whole(f'r3 * {shape.tokens_of_provider}')} + 1)"
    values: dict[str, object] = {
        "models": shape.models,
        "providers": shape.providers,
        "users": shape.users,
        "teams": shape.teams,
        "first_key": shape.first_key,
        "first_user": shape.first_user,
        "first_team": shape.first_team,
        "first_provider": shape.first_provider,
    }
    values |= {
        "columns": COLUMNS,
        "whole_1": whole(f"r1 * r1 * r1 * {shape.keys}"),
        "whole_2": whole("r2 * r2 * 3"),
        "prompt": whole("4000 * r5"),
        "completion": whole("900 * r6"),
        "cached": whole("1000 * r5 * r6"),
        "cost": whole("20000 * r5 * r6"),
    }
    if is_postgres:
        values |= {
            "series": f"series AS (SELECT * FROM generate_series(0, {shape.records} - 1) AS i)",
            "random": "random()",
            "id": (
                f"(lpad(to_hex({milliseconds}::bigint), 12, '0') || '7000' || "
                "lpad(to_hex(i), 16, '8'))::uuid"
            ),
            "started_at": f"to_timestamp({milliseconds} / 1000.0)",
            "token": f"lpad(to_hex({token_number}), 32, '0')::uuid",
            "attempts": f"'{ATTEMPT}'::jsonb",
            "true": "true",
            "false": "false",
        }
    else:
        values |= {
            "series": (
                "series(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM series "
                f"WHERE i + 1 < {shape.records})"
            ),
            "random": "(abs(random() % 1000000) / 1000000.0)",
            "id": f"printf('%012x7000%016x', CAST({milliseconds} AS INTEGER), i)",
            "started_at": (
                f"strftime('%Y-%m-%d %H:%M:%f', {milliseconds} / 1000.0, 'unixepoch') || '000'"
            ),
            "token": f"printf('%032x', {token_number})",
            "attempts": f"'{ATTEMPT}'",
            "true": "1",
            "false": "0",
        }
    return STATEMENT.format(**values)
