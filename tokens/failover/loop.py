"""Call one candidate and token after another until one answers: the only retry loop there is.

The next one is tried only before the first chunk and before the request's deadline. Errors that
concern the token alone cost only time: other tokens are tried without a pause, up to
MAX_TOKENS_TRIED. Attempts that the provider fails are few (MAX_ATTEMPTS), with pauses, and within
the provider's retry budget. After the first chunk an error ends the stream.
"""

from collections.abc import Sequence
from contextlib import aclosing

from providers.catalogue import Candidate
from providers.exceptions import UpstreamError
from providers.protocol.chunks import Batches
from providers.protocol.request import ChatRequest
from providers.protocol.trace import Trace
from tokens.failover.candidate_walk import CandidateWalk
from tokens.failover.outcome import describe_outcome
from tokens.failover.upstream_attempt import UpstreamAttempt
from tokens.pool.pool import Pool


async def answer(
    request: ChatRequest, candidates: Sequence[Candidate], pool: Pool, trace: Trace
) -> Batches:
    """Yield the chunks of the first candidate that answers. Raises GatewayError.

    Writes the attempts and the usage of the call to `trace`.
    """
    walk = CandidateWalk(request, candidates, pool, trace)
    try:
        attempt = await find_answering_attempt(walk)
        async with attempt, aclosing(attempt.batches) as batches:
            if attempt.first_batch is not None:
                yield attempt.first_batch
                attempt.require_time()
            async for batch in batches:
                attempt.record_chunks(batch)
                yield batch
                attempt.require_time()
    finally:
        walk.release_stream()


async def find_answering_attempt(walk: CandidateWalk) -> UpstreamAttempt:
    """Make attempts until one has its first chunks, and return it.

    Raises the last error, or another GatewayError that says why nobody answered.
    """
    while (choice := walk.choose_first() or await walk.find_choice()) is not None:
        attempt = UpstreamAttempt(walk, choice)
        try:
            await attempt.receive_first_batch()
        except UpstreamError as error:
            if walk.learn_refused_field(attempt, error):
                continue
            if not walk.leave_out_rejected(choice, error):
                raise
            walk.record_failure(attempt, error)
        else:
            return attempt
    raise describe_outcome(walk)
