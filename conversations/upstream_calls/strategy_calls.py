"""Make the upstream calls of one request: several intermediate ones, and one final one.

Intermediate answers are read whole; the caller gets the final one. Each call goes through failover
like a request of its own; its attempts and its usage count as the request's. `StrategyCalls` limits
the number of calls and leaves half of the request's time to the final one. A tool call that the
final answer must have is asked for once more, as without a strategy.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import aclosing
from functools import partial
from itertools import takewhile
from typing import Any, TypeVar

import msgspec

from conversations.upstream_calls import required_tool_call
from providers.catalogue import Candidate
from providers.exceptions import InternalError, PoolError, Rejected, UpstreamTimeout
from providers.protocol.chunks import Batches, Chunk
from providers.protocol.json_types import FrozenJsonObject, JsonObject
from providers.protocol.message_text import SYSTEM_ROLES, join_texts
from providers.protocol.request import ChatRequest
from providers.protocol.trace import Trace
from tokens.pool.pool import Pool

# fields of the caller's body for intermediate calls too; tools, formats and limits are for the
# final call only
INTERMEDIATE_FIELDS = (
    "model",
    "user",
    "safety_identifier",
    "prompt_cache_key",
    "service_tier",
    "reasoning_effort",
    "temperature",
    "top_p",
    "seed",
)
UNRETRYABLE_ERRORS = (Rejected, PoolError)  # an immediate retry would fail in the same way
OptionsT = TypeVar("OptionsT")


class IntermediateAnswer(msgspec.Struct, frozen=True):
    """A whole intermediate answer; `is_cut_off` is true when it reached its limit of tokens."""

    text: str
    is_cut_off: bool = False


class StrategyCalls:
    """The upstream calls of one request, at most `max_calls`.

    The final call is included in that number, and is always made.
    """

    def __init__(
        self,
        request: ChatRequest,
        candidates: Sequence[Candidate],
        pool: Pool,
        trace: Trace,
        max_calls: int,
    ) -> None:
        self.request = request
        self._candidates = candidates
        self._pool = pool
        self._trace = trace
        self._remaining_calls = max_calls  # upstream calls
        self._reserved_calls = 0  # of these, for calls that are about to be made
        self._intermediate_deadline = (
            trace.started_seconds + candidates[0].adapter.upstream.timeouts.total / 2
        )

    @property
    def calls_left(self) -> int:
        """Upstream calls still allowed before the final answer, retries included.

        It is 0 after the time limit.
        """
        if time.perf_counter() >= self._intermediate_deadline:
            return 0
        return self._remaining_calls - self._reserved_calls - 1

    def _claim_call(self, calls_for_others: int) -> bool:
        """Take one more upstream call if enough remain for others; return whether it was taken.

        `calls_for_others` calls and the reserved ones are for others.
        """
        if self._remaining_calls - self._reserved_calls <= calls_for_others:
            return False
        self._remaining_calls -= 1
        return True

    def reserve_calls(self, count: int) -> None:
        """Reserve a call for each of the next calls, so that no failover uses it up.

        They are made next and at once.
        """
        self._reserved_calls = count

    async def request_intermediate_answer(
        self, label: str, messages: Sequence[JsonObject], **fields: Any
    ) -> IntermediateAnswer:
        """Make an intermediate call and return its whole answer.

        `fields` are added to the body; a field that is None is left out. Raises GatewayError.
        """
        inner = msgspec.structs.replace(
            self.request,
            body=make_intermediate_body(self.request.body, messages, fields),
            stream=False,
            include_usage=False,
            thinking="reasoning",
            wants_stored_chat=False,
            resume=None,
        )
        answer: Chunk = {}
        try:
            async with (
                asyncio.timeout(self._intermediate_deadline - time.perf_counter()),
                aclosing(self._call_upstream(label, inner)) as batches,
            ):
                async for batch in batches:
                    answer = batch[0]
        except TimeoutError:
            raise UpstreamTimeout("The upstream took too long over an intermediate call.") from None
        return read_intermediate_answer(answer)

    async def stream_final_answer(
        self, label: str, messages: Sequence[JsonObject], **defaults: Any
    ) -> Batches:
        """Yield the final answer, in the form that the caller wants.

        `defaults` are fields for the body that the caller left out. Raises GatewayError.
        """
        body = {**drop_none(defaults), **self.request.body, "messages": list(messages)}
        inner = msgspec.structs.replace(
            self.request, body=body, wants_stored_chat=False, resume=None
        )
        async with aclosing(self._call_upstream(label, inner, calls_for_others=0)) as batches:
            async for batch in batches:
                yield batch

    async def _call_upstream(
        self, label: str, inner: ChatRequest, calls_for_others: int = 1
    ) -> Batches:
        """Yield the answer's chunks.

        Attempts are recorded however the call ends. Failover leaves `calls_for_others` calls and
        the reserved ones to others.
        """
        trace = self._trace
        inner_trace = trace.begin_inner(inner, partial(self._claim_call, calls_for_others))
        self._remaining_calls -= 1
        self._reserved_calls = max(0, self._reserved_calls - 1)
        try:
            async with aclosing(
                required_tool_call.answer(inner, self._candidates, self._pool, inner_trace)
            ) as batches:
                async for batch in batches:
                    yield batch
        finally:
            trace.add_attempts(inner_trace, label)


def make_intermediate_body(
    body: FrozenJsonObject, messages: Sequence[JsonObject], fields: JsonObject
) -> JsonObject:
    """Return the body of an intermediate call: some fields of the caller's, and `fields`.

    The limit of tokens is named as the caller named it.
    """
    inner_body = {name: body[name] for name in INTERMEDIATE_FIELDS if name in body}
    inner_body = drop_none(inner_body | {"messages": list(messages), **fields})
    if "max_completion_tokens" in body and "max_tokens" in inner_body:
        inner_body["max_completion_tokens"] = inner_body.pop("max_tokens")
    return inner_body


def drop_none(fields: JsonObject) -> JsonObject:
    """Return the fields without those that are None."""
    return {name: value for name, value in fields.items() if value is not None}


def read_intermediate_answer(answer: Chunk) -> IntermediateAnswer:
    """Return the text of a whole answer, empty when it has none."""
    choice = (answer.get("choices") or [{}])[0]
    message = choice.get("message") or {}
    is_cut_off = choice.get("finish_reason") == "length"
    return IntermediateAnswer(join_texts(message.get("content")), is_cut_off)


def read_strategy_options(
    options_type: type[OptionsT], candidates: Sequence[Candidate]
) -> OptionsT:
    """Return the strategy's options from the model's row.

    Raises InternalError, which names the wrong option.
    """
    try:
        return msgspec.convert(candidates[0].options, options_type)
    except msgspec.ValidationError as error:
        name = candidates[0].public_id
        raise InternalError(
            f"The model {name!r} has an option that cannot be used: {error}."
        ) from None


# --- messages -------------------------------------------------------------------------------------
def prepend_instructions(messages: Sequence[JsonObject], prompt: str) -> list[JsonObject]:
    """Return the messages with `prompt` in front.

    System messages at the beginning are joined with it, in the role of the first.
    """
    system_messages = list(takewhile(is_system_message, messages))
    texts = [join_texts(message.get("content")) for message in system_messages]
    role = system_messages[0]["role"] if system_messages else "system"
    content = "\n\n".join([prompt, *filter(None, texts)])
    return [{"role": role, "content": content}, *messages[len(system_messages) :]]


def is_system_message(message: JsonObject) -> bool:
    return message["role"] in SYSTEM_ROLES


def wants_plain_text(body: FrozenJsonObject) -> bool:
    """Return whether the caller wants one plain text: no tools, no format, no second choice."""
    if body.get("tools") or body.get("functions"):
        return False
    answer_format = (body.get("response_format") or {}).get("type", "text")
    return answer_format == "text" and (body.get("n") or 1) == 1
