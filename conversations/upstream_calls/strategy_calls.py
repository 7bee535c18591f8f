"""Make the upstream calls of one request: several intermediate ones, and one final one.

Intermediate answers are read whole; the caller gets the final one. Each call goes through failover
like a request of its own; its attempts and its usage count as the request's. `Asking` limits the
number of calls and leaves half of the request's time to the final one. A tool call that the final
answer must have is insisted upon, as without a strategy.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, TypeVar

import msgspec

from conversations.upstream_calls import required_tool_call
from providers.catalogue import Candidate
from providers.exceptions import InternalError, PoolError, Rejected, UpstreamTimeout
from providers.protocol.chunks import Batches, Chunk
from providers.protocol.message_text import SYSTEM_ROLES, join_texts
from providers.protocol.request import ChatRequest
from providers.protocol.trace import Trace
from tokens.pool.pool import Pool

# fields of the caller's body for intermediate calls too; tools, formats and limits are for the
# final call only
KEPT = (
    *("model", "user", "safety_identifier", "prompt_cache_key", "service_tier"),
    *("reasoning_effort", "temperature", "top_p", "seed"),
)
HOPELESS = (Rejected, PoolError)  # an immediate retry would fail in the same way
Options = TypeVar("Options")


class Said(msgspec.Struct, frozen=True):
    """A whole intermediate answer; `cut` is true when it reached its limit of tokens."""

    text: str
    cut: bool = False


class Asking:
    """The upstream calls of one request, at most `most`.

    The final call is included in that number, and is always made.
    """

    def __init__(
        self,
        request: ChatRequest,
        candidates: Sequence[Candidate],
        pool: Pool,
        trace: Trace,
        most: int,
    ) -> None:
        self.request = request
        self._candidates = candidates
        self._pool = pool
        self._trace = trace
        self._left = most  # upstream calls
        self._reserved = 0  # of these, for calls that are about to be made
        self._until = trace.began + candidates[0].adapter.upstream.timeouts.total / 2

    @property
    def left(self) -> int:
        """Upstream calls still allowed before the final answer, retries included.

        It is 0 after the time limit.
        """
        return self._left - self._reserved - 1 if time.perf_counter() < self._until else 0

    def _more(self, kept: int) -> bool:
        """Take one more upstream call if enough remain for others; return whether it was taken.

        `kept` calls and the reserved ones are for others.
        """
        allowed = self._left - self._reserved > kept
        self._left -= allowed
        return allowed

    def reserve(self, questions: int) -> None:
        """Reserve a call for each of the next calls, so that no failover uses it up.

        They are made next and at once.
        """
        self._reserved = questions

    async def whole(self, label: str, messages: Sequence[dict[str, Any]], **fields: Any) -> Said:
        """Make an intermediate call and return its whole answer.

        `fields` are added to the body; a field that is None is left out. Raises GatewayError.
        """
        body = {name: self.request.body[name] for name in KEPT if name in self.request.body}
        body |= {"messages": list(messages), **fields}
        body = {name: value for name, value in body.items() if value is not None}
        limit = body.pop("max_tokens", None)
        if limit is not None:
            newer = "max_completion_tokens" in self.request.body
            body["max_completion_tokens" if newer else "max_tokens"] = limit
        inner = msgspec.structs.replace(
            self.request,
            body=body,
            stream=False,
            include_usage=False,
            thinking="reasoning",
            keep=False,
            resume=None,
        )
        answer: Chunk = {}
        try:
            async with (
                asyncio.timeout(self._until - time.perf_counter()),
                aclosing(self._asked(label, inner)) as batches,
            ):
                async for batch in batches:
                    answer = batch[0]
        except TimeoutError:
            raise UpstreamTimeout(
                "The upstream took too long over a question on the way."
            ) from None
        choice = (answer.get("choices") or [{}])[0]
        text = join_texts((choice.get("message") or {}).get("content"))
        return Said(text, choice.get("finish_reason") == "length")

    async def last(
        self, label: str, messages: Sequence[dict[str, Any]], **defaults: Any
    ) -> Batches:
        """Yield the final answer, in the form that the caller wants.

        `defaults` are fields for the body that the caller left out. Raises GatewayError.
        """
        given = {name: value for name, value in defaults.items() if value is not None}
        body = given | self.request.body | {"messages": list(messages)}
        inner = msgspec.structs.replace(self.request, body=body, keep=False, resume=None)
        async with aclosing(self._asked(label, inner, kept=0)) as batches:
            async for batch in batches:
                yield batch

    async def _asked(self, label: str, inner: ChatRequest, kept: int = 1) -> Batches:
        """Yield the answer's chunks.

        Attempts are recorded however the call ends. Failover leaves `kept` calls and the reserved
        ones to others.
        """
        trace = self._trace
        own = trace.begin_inner(inner, partial(self._more, kept))
        self._left -= 1
        self._reserved = max(0, self._reserved - 1)
        try:
            async with aclosing(
                required_tool_call.answer(inner, self._candidates, self._pool, own)
            ) as batches:
                async for batch in batches:
                    yield batch
        finally:
            trace.add_attempts(own, label)


def options_of(kind: type[Options], candidates: Sequence[Candidate]) -> Options:
    """Return the strategy's options from the model's row.

    Raises InternalError, which names the wrong option.
    """
    try:
        return msgspec.convert(candidates[0].options, kind)
    except msgspec.ValidationError as error:
        name = candidates[0].public_id
        raise InternalError(
            f"The model {name!r} has an option that cannot be used: {error}."
        ) from None


# --- messages -------------------------------------------------------------------------------------
def instructed(messages: Sequence[dict[str, Any]], prompt: str) -> list[dict[str, Any]]:
    """Return the messages with `prompt` in front.

    System messages at the beginning are joined with it, in the role of the first.
    """
    head = 0
    while head < len(messages) and messages[head]["role"] in SYSTEM_ROLES:
        head += 1
    told = [text for message in messages[:head] if (text := join_texts(message.get("content")))]
    role = messages[0]["role"] if head else "system"
    return [{"role": role, "content": "\n\n".join([prompt, *told])}, *messages[head:]]


def only_text(body: dict[str, Any]) -> bool:
    """Return whether the caller wants one plain text: no tools, no format, no second choice."""
    format_ = (body.get("response_format") or {}).get("type", "text")
    return (
        not body.get("tools")
        and not body.get("functions")
        and format_ == "text"
        and (body.get("n") or 1) == 1
    )
