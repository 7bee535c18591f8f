"""Think in steps that the caller sees as they finish, then answer: like O1-API, over any model.

Each step is an upstream call of its own, answered with one JSON object
(conversations/reasoning/step_format.py). The final call has the caller's own messages, tools and
formats, and its answer streams. The answer has the additional fields `steps` and
`total_thinking_time` (seconds); in a stream they come in a chunk before the finish reason. A step
that fails after three tries gets the title "Error", and the final call is made with the other
steps.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any

from conversations.reasoning import step_format
from conversations.reasoning.step_format import Step
from conversations.upstream_calls.strategy_calls import (
    UNRETRYABLE_ERRORS,
    IntermediateAnswer,
    StrategyCalls,
    prepend_instructions,
    read_strategy_options,
)
from providers.catalogue import Candidate
from providers.exceptions import GatewayError, Rejected
from providers.protocol.chunks import Batches, Chunk, make_delta
from providers.protocol.request import CHAT, ChatRequest
from providers.protocol.trace import Trace
from tokens.failover import loop as failover
from tokens.pool.pool import Pool

STEP_TRIES = 3  # of one step
PAUSE_SECONDS = 1.0  # between them
MAX_TOKENS_FACTOR = 4  # a step that was cut may get up to so many times its tokens
CALLER_FORMS = {
    "inline": step_format.INLINE,
    "hidden": step_format.HIDDEN,
}  # forms of thinking that a caller may ask for


def answer(
    request: ChatRequest, candidates: Sequence[Candidate], pool: Pool, trace: Trace
) -> Batches:
    if request.endpoint != CHAT:
        return failover.answer(request, candidates, pool, trace)
    return answer_in_steps(request, candidates, pool, trace)


async def answer_in_steps(
    request: ChatRequest, candidates: Sequence[Candidate], pool: Pool, trace: Trace
) -> Batches:
    """Yield the steps as they finish, then the final answer. Raises GatewayError."""
    options = read_strategy_options(step_format.Options, candidates)
    asking = StrategyCalls(request, candidates, pool, trace, options.max_calls)
    json_mode = all(candidate.adapter.upstream.native_tools for candidate in candidates)
    thread = StepSequence(asking, options, json_mode=json_mode)
    telling = StepRenderer(request, CALLER_FORMS.get(request.thinking, options.format))
    result = trace.strategy_result
    while not thread.is_over:
        if request.stream and options.feedback and telling.has_begun:
            yield [telling.render_status(len(thread.steps) + 1)]
        step = await thread.make_next_step()
        said = telling.render_finished_step(step)
        result.thinking = telling.stored_steps()
        result.preface = telling.preface
        # nothing is sent before the first good step, so that an error keeps its HTTP status
        if request.stream and not step.has_failed:
            yield said
    if request.stream and options.feedback and telling.has_begun:
        yield [telling.render_status(None)]
    result.preface = telling.preface + telling.closing_text
    last = asking.stream_final_answer(
        "final answer",
        thread.make_final_messages(),
        **final_token_limit(request, options.final_tokens),
        temperature=options.temperature,
    )
    async with aclosing(last) as batches:
        async for batch in batches:
            yield (
                telling.render_final_batch(batch)
                if request.stream
                else [telling.render_whole_answer(batch[0])]
            )


def final_token_limit(request: ChatRequest, tokens: int | None) -> dict[str, int]:
    """Return the token limit of the final answer, if the caller sets none."""
    named = request.body.get("max_completion_tokens") or request.body.get("max_tokens")
    return {} if named or tokens is None else {"max_tokens": tokens}


class StepSequence:
    """The steps so far, and the messages that ask for the next one."""

    def __init__(
        self, calls: StrategyCalls, options: step_format.Options, *, json_mode: bool
    ) -> None:
        self._calls = calls
        self._options = options
        self._json_mode = json_mode
        self._messages = prepend_instructions(
            calls.request.body["messages"], options.render_system_prompt()
        )
        self.steps: list[Step] = []

    @property
    def is_over(self) -> bool:
        """True when the final answer is due: the model is ready, or no more steps are allowed."""
        if len(self.steps) >= self._options.max_steps or self._calls.calls_left < 1:
            return True
        return bool(self.steps) and self.steps[-1].is_final

    async def make_next_step(self) -> Step:
        """Make the next step and return it; a failed step is final.

        Raises GatewayError when the first step fails and further calls would fail too.
        """
        options = self._options
        number = len(self.steps) + 1
        began = time.perf_counter()
        step = await self._try_step(number)
        if (
            step.is_final
            and not step.has_failed
            and number < options.min_steps
            and number < options.max_steps
        ):
            step = Step(step.title, step.content)
            go_on = step_format.TOO_FEW_PROMPT.format(number=number, min_steps=options.min_steps)
        else:
            go_on = step_format.NEXT_STEP_PROMPT.format(number=number + 1)
        step = Step(
            step.title, step.content, step.is_final, time.perf_counter() - began, step.has_failed
        )
        self._messages += [
            {"role": "assistant", "content": step.as_json()},
            {"role": "user", "content": go_on},
        ]
        self.steps.append(step)
        return step

    async def _try_step(self, number: int) -> Step:
        """Return the step, or a step with the reason why there is none."""
        reason = "The model gave no readable step."
        tokens = self._options.step_tokens
        correction: list[dict[str, Any]] = []
        for attempt in range(STEP_TRIES):
            if attempt and self._calls.calls_left < 1:
                break
            if attempt:
                await asyncio.sleep(PAUSE_SECONDS)
            try:
                said = await self._request_step(number, [*self._messages, *correction], tokens)
            except UNRETRYABLE_ERRORS as error:
                if not self.steps:
                    raise
                reason = error.message
                break
            except GatewayError as error:
                reason = error.message
                continue
            if step := step_format.parse_step(said.text):
                return step
            if said.is_cut_off:
                tokens = min(tokens * 2, self._options.step_tokens * MAX_TOKENS_FACTOR)
            elif said.text:
                wrong = {"role": "assistant", "content": said.text}
                correction = [wrong, {"role": "user", "content": step_format.UNREADABLE_PROMPT}]
        return Step("Error", reason, is_final=True, has_failed=True)

    async def _request_step(
        self, number: int, messages: list[dict[str, Any]], tokens: int
    ) -> IntermediateAnswer:
        """Return the model's answer.

        When the upstream refuses JSON mode, the call is repeated without it, and JSON mode stays
        off.
        """
        fields: dict[str, Any] = {"max_tokens": tokens}
        if self._options.temperature is not None:
            fields["temperature"] = self._options.temperature
        label = f"step {number}"
        if self._json_mode:
            try:
                return await self._calls.request_intermediate_answer(
                    label, messages, response_format={"type": "json_object"}, **fields
                )
            except Rejected:
                self._json_mode = False
                if self._calls.calls_left < 1:
                    raise
        return await self._calls.request_intermediate_answer(label, messages, **fields)

    def make_final_messages(self) -> list[dict[str, Any]]:
        """Return the messages for the final answer: the caller's own, and the good steps."""
        messages: list[dict[str, Any]] = self._calls.request.body["messages"]
        good = [step for step in self.steps if not step.has_failed]
        if not good:
            return messages
        thought = {"role": "assistant", "content": step_format.render_thinking(good)}
        return [*messages, thought, {"role": "user", "content": step_format.FINAL_PROMPT}]


class StepRenderer:
    """The chunks for the caller, in the chosen form: they look like one answer."""

    def __init__(self, request: ChatRequest, form: str) -> None:
        self._request = request
        self._form = form
        self._field = "reasoning_content" if form == "reasoning" else "content"
        self._steps: list[Step] = []
        self._steps_text = ""  # text of the steps, as the caller sees it
        self._held_text = ""  # the end of it that is not sent yet
        self.has_begun = self._is_closed = False

    def render_finished_step(self, step: Step) -> list[Chunk]:
        """Return the chunks that show a finished step.

        The chunks of a failed step are held back until the answer begins.
        """
        self._steps.append(step)
        text = step_format.render_step(step, len(self._steps), self._form)
        if text and len(self._steps) == 1:
            text = step_format.render_opening(self._form) + text
        self._steps_text += text
        self._held_text += text
        return [] if step.has_failed else self._flush_held_text()

    def _flush_held_text(self) -> list[Chunk]:
        """Return the text that was held back as a chunk."""
        text = self._held_text
        self._held_text = ""
        head = {} if self.has_begun else {"role": "assistant"}
        self.has_begun = True
        return [make_delta(self._request, **head, **({self._field: text} if text else {}))]

    def render_status(self, number: int | None) -> Chunk:
        """Return a chunk with the number of the step in progress; None means the final answer."""
        told = (
            {"state": "thinking", "step": number}
            if number
            else {"state": "answering", "step": None}
        )
        return make_delta(self._request) | {"status": told}

    @property
    def preface(self) -> str:
        """The steps so far, if they are part of the answer's text."""
        return self._steps_text if self._field == "content" else ""

    @property
    def closing_text(self) -> str:
        return step_format.render_closing(self._form)

    def stored_steps(self) -> dict[str, Any]:
        """Return the steps so far, as they are stored."""
        seconds = round(sum(step.seconds for step in self._steps), 3)
        return {"steps": [step.as_dict() for step in self._steps], "total_thinking_time": seconds}

    def extra_fields(self) -> dict[str, Any]:
        """Return the answer's fields beside OpenAI's."""
        return self.stored_steps() | ({"steps": []} if self._form == step_format.HIDDEN else {})

    def render_final_batch(self, batch: list[Chunk]) -> list[Chunk]:
        """Return a batch of the final answer with the additional chunks.

        These are the steps held back before it, and the extra fields before its end.
        """
        told: list[Chunk] = []
        if not self._is_closed:
            self._is_closed = True
            self._held_text += self.closing_text
            if self._held_text:
                told += self._flush_held_text()
        for chunk in batch:
            for choice in chunk["choices"]:
                if choice["index"] == 0 and self.has_begun:
                    (choice.get("delta") or {}).pop("role", None)
                if choice["index"] == 0 and choice.get("finish_reason"):
                    told.append(make_delta(self._request) | self.extra_fields())
                self.has_begun = True
            told.append(chunk)
        return told

    def render_whole_answer(self, answer: Chunk) -> Chunk:
        """Return the whole final answer with the steps in front and the extra fields."""
        text = self._steps_text + self.closing_text
        for choice in answer["choices"]:
            message = choice["message"]
            if choice["index"] == 0 and text:
                message[self._field] = text + (message.get(self._field) or "")
        return answer | self.extra_fields()
