"""Tokens that a caller brings along: a pool for one request. They are in no row, no note and no log."""

from collections.abc import Collection, Sequence
from uuid import UUID, uuid4

from providers.base import Upstream
from providers.chat import Credential
from providers.exceptions import UpstreamError
from tokens.pool import Pool
from tokens.rings import Entry


class Borrowed(Pool):
    """The caller's `secrets`, in the order in which he gave them, over the breakers of the real `pool`."""

    shared = False

    def __init__(self, pool: Pool, secrets: Sequence[str]) -> None:
        super().__init__()
        self._breakers = pool._breakers
        self._brought = [Entry(uuid4(), 0, "", secret=secret) for secret in secrets]

    def pick(self, upstream: Upstream, tried: Collection[UUID], preferred: UUID | None = None) -> Entry | None:
        return next((entry for entry in self._brought if entry.id not in tried), None)

    def anonymous(self, upstream: Upstream) -> bool:
        return False

    def credential(self, entry: Entry | None) -> Credential:
        return Credential(None, entry.secret or "" if entry else "")

    def why_none(self, upstream: Upstream) -> str:
        return f"{len(self._brought)} tokens that the caller gave: none is accepted"

    def wakes_in(self, upstream: Upstream) -> float | None:
        return None

    def succeeded(self, upstream: Upstream, entry: Entry | None, cause: str = "") -> None:
        self.breaker(upstream).answered()

    def failed(self, upstream: Upstream, entry: Entry | None, error: UpstreamError, cause: str = "") -> None:
        """Nothing counts against the provider: what a stranger brings may make it fail for him alone."""
        self.breaker(upstream).undecided()
