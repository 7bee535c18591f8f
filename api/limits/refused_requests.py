"""Requests that limits refused: their usage records, one for those of the same second.

A refusal is counted in memory. Once a second the counts become records. So a flood of refused
requests neither waits for the database nor fills it.
"""

import time
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from api.accounting.spool import Row
from api.accounting.usage_table import COLUMNS
from api.authentication.caller import Caller
from api.models import Status
from providers.exceptions import GatewayError

MOST_KINDS = 2_000  # of refusals in a second; of more only their number is kept
OTHER_MODELS = "(others)"


class RefusedKind(NamedTuple):
    """The facts that refusals have in common which share a record."""

    second: int  # UNIX time
    key_id: int | None
    user_id: int | None
    team_id: int | None
    endpoint: str
    model: str
    limit_name: str
    http_status: int
    error_code: str


class RefusedRequests:
    """The refusals of this process that are no records yet."""

    def __init__(self) -> None:
        self._counts: dict[RefusedKind, int] = {}
        self._first_ids: dict[RefusedKind, str] = {}

    def add_refusal(
        self,
        caller: Caller,
        request_id: str,
        endpoint: str,
        model: str,
        refusal: tuple[str, GatewayError],
    ) -> None:
        """Count a refused request; `refusal` is the name of the limit and the caller's error."""
        limit_name, error = refusal
        kind = RefusedKind(
            int(time.time()),
            caller.key_id,
            caller.user_id,
            caller.team_id,
            endpoint,
            model,
            limit_name,
            error.shown_status,
            error.shown_code or "",
        )
        if kind not in self._counts and len(self._counts) >= MOST_KINDS:
            kind = kind._replace(
                endpoint="", model=OTHER_MODELS, key_id=None, user_id=None, team_id=None
            )
        self._counts[kind] = self._counts.get(kind, 0) + 1
        self._first_ids.setdefault(kind, request_id.removeprefix("req_"))

    def take_rows(self) -> list[Row]:
        """Return the refusals as rows of the ledger, and forget them."""
        counts, self._counts = self._counts, {}
        first_ids, self._first_ids = self._first_ids, {}
        return [build_row(first_ids[kind], kind, count) for kind, count in counts.items()]


def build_row(request_id: str, kind: RefusedKind, count: int) -> Row:
    """Return the row of refusals; its id is that of the first refused request."""
    values = dict.fromkeys(COLUMNS)
    values |= {
        "id": UUID(request_id).hex,
        "started_at": datetime.fromtimestamp(kind.second, UTC).isoformat(),
        "key_id": kind.key_id,
        "user_id": kind.user_id,
        "team_id": kind.team_id,
        "endpoint": kind.endpoint,
        "model": kind.model,
        "stream": False,
        "status": Status.REFUSED.value,
        "http_status": kind.http_status,
        "error_code": kind.error_code,
        "attempts": [],
        "estimated": False,
        "cost_micro_usd": 0,
        "refused_by": kind.limit_name,
        "request_count": count,
        "client": "",
    }
    for name in COLUMNS:
        if name.endswith("_tokens"):
            values[name] = 0
    return list(values.values())
