"""What the pool reads of the database: the tokens that changed since it looked last."""

from dataclasses import dataclass
from typing import Any

from providers.models import Revision
from tokens.models import UpstreamToken

COLUMNS = (
    *("id", "provider_id", "sealed", "state", "strikes", "rests_until", "expires_at"),
    *("sealed_refresh", "account_id", "priority", "weight", "reason", "changed"),
)


@dataclass(frozen=True, slots=True)
class Rows:
    """What one reading brought: all tokens, or those changed since the version seen before."""

    version: int
    whole: bool
    rows: list[tuple[Any, ...]]


def read(seen: int) -> Rows:
    """The tokens that changed since version `seen`, all of them when that cannot be told; in a database thread."""
    revision = Revision.objects.filter(topic="tokens").first()
    version, floor = (revision.version, revision.floor) if revision else (0, 0)
    whole = seen < 0 or seen < floor or seen > version
    tokens = UpstreamToken.objects.order_by()
    if not whole:
        tokens = tokens.filter(changed__gt=seen)
    return Rows(version, whole, list(tokens.values_list(*COLUMNS).iterator(10_000)))
