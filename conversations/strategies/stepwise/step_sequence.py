"""Make the steps of a request one after the other, each by an upstream call of its own."""

import asyncio
import time
from collections.abc import Sequence

from msgspec import structs

from conversations.prompts.strategy_questions import Question, StrategyQuestions
from conversations.strategies.stepwise import step_prompts
from conversations.strategies.stepwise.step_parser import Step, parse_step, read_prose_step
from conversations.strategies.stepwise.step_prompts import StepwiseOptions
from conversations.strategies.stepwise.step_renderer import render_thinking
from conversations.strategies.stepwise.step_tries import StepTries, make_exchange
from conversations.text.token_estimate import estimate_tokens
from conversations.text.trim_texts import trim_texts
from conversations.upstream_calls.strategy_calls import (
    UNRETRYABLE_ERRORS,
    IntermediateAnswer,
    StrategyCalls,
)
from providers.exceptions import GatewayError, Rejected
from providers.protocol.json_types import JsonObject

STEP_TRIES = 3  # of one step
PAUSE_SECONDS = 1.0  # between them


class StepSequence:
    """The steps so far, and the messages that ask for the next one."""

    def __init__(
        self,
        calls: StrategyCalls,
        questions: StrategyQuestions,
        options: StepwiseOptions,
        *,
        has_json_mode: bool,
    ) -> None:
        self._calls = calls
        self._questions = questions
        self._options = options
        self._has_json_mode = has_json_mode
        self._instructions = options.render_system_prompt()
        self._exchanges: list[JsonObject] = []  # the steps so far, and what was said to them
        self._writes_prose = False  # the model writes no JSON, even when it is told to
        self.steps: list[Step] = []

    async def is_over(self) -> bool:
        """Return whether the final answer is due.

        The model is ready, or there is no call or no room in the window for one more step.
        """
        if len(self.steps) >= self._options.max_steps or self._calls.calls_left < 1:
            return True
        if not self.steps:
            return False
        question = self._make_question(self._options.step_tokens)
        return self.steps[-1].is_final or await self._questions.measure_room(question) < 0

    def _make_question(self, tokens: int, correction: Sequence[JsonObject] = ()) -> Question:
        """Return the question for the next step."""
        additions = [*self._exchanges, *correction]
        return Question(self._instructions, additions, answer_tokens=tokens)

    async def make_next_step(self) -> Step:
        """Make the next step and return it; a failed step is final.

        Raises GatewayError when the first step fails and further calls would fail too.
        """
        number = len(self.steps) + 1
        started = time.perf_counter()
        step = await self._try_step(number)
        next_prompt = step_prompts.NEXT_STEP_PROMPT.format(number=number + 1)
        if self._is_early_end(step, number):
            step = structs.replace(step, is_final=False)
            next_prompt = step_prompts.TOO_FEW_PROMPT.format(
                number=number, min_steps=self._options.min_steps
            )
        step = structs.replace(step, seconds=time.perf_counter() - started)
        self._exchanges += make_exchange(step.as_json(), next_prompt)
        self.steps.append(step)
        return step

    def _is_early_end(self, step: Step, number: int) -> bool:
        """Return whether the model wants to answer before it has made enough steps."""
        if not step.is_final or step.has_failed:
            return False
        return number < self._options.min_steps and number < self._options.max_steps

    async def _try_step(self, number: int) -> Step:
        """Return the step, or a step with the reason why there is none.

        A model that was told the form and writes prose again is taken at its word.
        """
        tries = StepTries(self._options.step_tokens)
        while tries.count < STEP_TRIES:
            if tries.count and self._calls.calls_left < 1:
                break
            if tries.count:
                await asyncio.sleep(PAUSE_SECONDS)
            try:
                question = self._make_question(tries.tokens, tries.correction)
                messages = await self._questions.make_messages(question)
                answer = await self._request_step(number, messages, tries.tokens)
            except UNRETRYABLE_ERRORS as error:
                if not self.steps and not tries.prose:
                    raise
                tries.record_error(error)
                break
            except GatewayError as error:
                tries.record_error(error)
                continue
            if step := parse_step(answer.text):
                return step
            tries.record_unreadable(answer)
            if tries.prose and (self._writes_prose or tries.has_prose_again):
                break
        if step := read_prose_step(tries.prose):
            self._writes_prose = True
            return step
        return Step("Error", tries.reason, is_final=True, has_failed=True)

    async def _request_step(
        self, number: int, messages: list[JsonObject], tokens: int
    ) -> IntermediateAnswer:
        """Return the model's answer.

        When the upstream refuses JSON mode, the call is repeated without it, and JSON mode stays
        off.
        """
        label = f"step {number}"
        fields: JsonObject = {"max_tokens": tokens}
        if self._options.temperature is not None:
            fields["temperature"] = self._options.temperature
        if self._has_json_mode:
            try:
                return await self._calls.request_intermediate_answer(
                    label, messages, response_format={"type": "json_object"}, **fields
                )
            except Rejected:
                self._has_json_mode = False
                if self._calls.calls_left < 1:
                    raise
        return await self._calls.request_intermediate_answer(label, messages, **fields)

    async def make_final_messages(self, *, room_divisor: int = 1) -> list[JsonObject]:
        """Return the messages for the final answer: the caller's own, and the good steps.

        The steps are cut to the room that there is, or to a part of it.
        """
        steps = self.good_steps
        if not steps:
            return await self._questions.make_messages(Question(is_final=True))
        frame = [structs.replace(step, content="") for step in steps]
        room = await self._questions.measure_room(self._make_final_question(frame))
        if room_divisor > 1:
            tokens = sum(estimate_tokens(step.content) for step in steps)
            room = min(room, tokens // room_divisor)
        contents = trim_texts([step.content for step in steps], room)
        trimmed = [
            structs.replace(step, content=content)
            for step, content in zip(steps, contents, strict=True)
        ]
        return await self._questions.make_messages(self._make_final_question(trimmed))

    def _make_final_question(self, steps: Sequence[Step]) -> Question:
        """Return the question for the final answer."""
        exchange = make_exchange(render_thinking(steps), step_prompts.FINAL_PROMPT)
        return Question(additions=exchange, answer_tokens=self._options.final_tokens, is_final=True)

    @property
    def good_steps(self) -> list[Step]:
        return [step for step in self.steps if not step.has_failed]
