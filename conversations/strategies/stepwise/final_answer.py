"""Make the final answer of the steps that there are, even where the upstream refuses it."""

from contextlib import aclosing

from conversations.strategies.stepwise.step_prompts import StepwiseOptions
from conversations.strategies.stepwise.step_sequence import StepSequence
from conversations.upstream_calls.strategy_calls import StrategyCalls, wants_plain_text
from providers.exceptions import GatewayError, Rejected
from providers.protocol.chunks import Batches, Chunk, make_completion, make_delta
from providers.protocol.request import ChatRequest

CONTEXT_TOO_LONG = "context_length_exceeded"
SHORTER_STEPS = 4  # a prompt that was too long has steps of one part of so many of their length


class FinalAnswer:
    """The final answer of a request, after its steps."""

    def __init__(
        self,
        request: ChatRequest,
        calls: StrategyCalls,
        sequence: StepSequence,
        options: StepwiseOptions,
    ) -> None:
        self._request = request
        self._calls = calls
        self._sequence = sequence
        self._options = options
        self._has_begun = False

    async def yield_answer(self) -> Batches:
        """Yield the final answer. Raises GatewayError.

        When the upstream finds the prompt too long, it is asked once more with shorter steps. When
        it fails before the answer begins, the last step is the answer, which then ends with
        "length".
        """
        try:
            async with aclosing(self._yield_model_answer()) as batches:
                async for batch in batches:
                    yield batch
        except GatewayError:
            if self._has_begun or not self._sequence.good_steps:
                raise
            if not wants_plain_text(self._request.body):
                raise
            yield self._render_last_step()

    async def _yield_model_answer(self) -> Batches:
        """Yield the answer of the model, to the whole steps or to shorter ones."""
        try:
            async with aclosing(self._request_answer(1)) as batches:
                async for batch in batches:
                    yield batch
        except Rejected as error:
            if self._has_begun or error.shown_code != CONTEXT_TOO_LONG:
                raise
            if not self._sequence.good_steps or self._calls.calls_left < 0:
                raise
            async with aclosing(self._request_answer(SHORTER_STEPS)) as batches:
                async for batch in batches:
                    yield batch

    async def _request_answer(self, room_divisor: int) -> Batches:
        """Yield the answer to the steps, cut to one part of so many of their length."""
        messages = await self._sequence.make_final_messages(room_divisor=room_divisor)
        final_batches = self._calls.stream_final_answer(
            "final answer",
            messages,
            **final_token_limit(self._request, self._options.final_tokens),
            temperature=self._options.temperature,
        )
        async with aclosing(final_batches):
            async for batch in final_batches:
                self._has_begun = True
                yield batch

    def _render_last_step(self) -> list[Chunk]:
        """Return the last step as the answer, whole or as a stream."""
        text = self._sequence.good_steps[-1].content
        if not self._request.stream:
            return [make_completion(self._request, {"content": text}, None, "length")]
        return [
            make_delta(self._request, role="assistant", content=text),
            make_delta(self._request, finish_reason="length"),
        ]


def final_token_limit(request: ChatRequest, tokens: int | None) -> dict[str, int]:
    """Return the token limit of the final answer, if the caller sets none."""
    caller_limit = request.body.get("max_completion_tokens") or request.body.get("max_tokens")
    if caller_limit or tokens is None:
        return {}
    return {"max_tokens": tokens}
