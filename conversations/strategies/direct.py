"""Ask once, relay the answer."""

from collections.abc import Sequence

from providers.catalogue import Candidate
from providers.chat import Batches, ChatRequest, Trace
from tokens import failover
from tokens.pool import Pool


def answer(request: ChatRequest, candidates: Sequence[Candidate], pool: Pool, trace: Trace) -> Batches:
    return failover.answer(request, candidates, pool, trace)
