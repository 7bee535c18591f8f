"""Django's settings of one database: SQLite in WAL mode, or Postgres with pool and time limits."""

import os
from typing import Any

PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=NORMAL",
    "busy_timeout=20000",
    "foreign_keys=ON",
    "cache_size=-8000",
)


def build_database_settings(
    config: dict[str, Any], *, wait_seconds: int, statement_seconds: int, pool_size: int
) -> dict[str, Any]:
    """Return `config`, as read from a database URL, with our options added.

    For Postgres `wait_seconds` bounds the connection and the wait for one of `pool_size`
    connections, `statement_seconds` each statement.
    """
    if config["ENGINE"].endswith("sqlite3"):
        init = "; ".join(f"PRAGMA {pragma}" for pragma in PRAGMAS) + ";"
        options = {"timeout": 20, "transaction_mode": "IMMEDIATE", "init_command": init}
        return config | {"ENGINE": "providers.queued_sqlite3", "OPTIONS": options}
    options = {
        "application_name": f"proxysite {os.getpid()}",
        **config.get("OPTIONS", {}),
        "connect_timeout": wait_seconds,
        "tcp_user_timeout": wait_seconds * 1000,
        "options": f"-c statement_timeout={statement_seconds * 1000}"
        f" -c idle_in_transaction_session_timeout={2 * statement_seconds * 1000}",
        "pool": {"min_size": 1, "max_size": pool_size, "timeout": wait_seconds},
    }
    return config | {"CONN_MAX_AGE": 0, "OPTIONS": options}
