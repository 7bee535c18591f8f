"""Ask the model for a plan and for several drafts of the answer, each by an upstream call."""

import asyncio
import random
from collections.abc import Sequence

from conversations.prompts.long_texts import extract_question
from conversations.strategies.multipath import multipath_options as prompts
from conversations.strategies.multipath.multipath_options import MultipathOptions
from conversations.strategies.multipath.passage_sampling import list_passages, sample_passages
from conversations.upstream_calls.strategy_calls import (
    UNRETRYABLE_ERRORS,
    StrategyCalls,
    prepend_instructions,
)
from providers.exceptions import BadResponse, GatewayError
from providers.protocol.json_types import JsonObject
from providers.protocol.message_text import join_texts


async def request_plan(calls: StrategyCalls) -> str:
    """Return the plan, or an empty string when the upstream failed, as a plan is optional.

    Raises GatewayError only when further calls would fail too.
    """
    messages = append_user_message(calls.request.body["messages"], prompts.FRAMEWORK_PROMPT)
    try:
        answer = await calls.request_intermediate_answer("framework", messages)
    except UNRETRYABLE_ERRORS:
        raise
    except GatewayError:
        return ""
    return answer.text


async def request_drafts(
    calls: StrategyCalls, options: MultipathOptions, plan: str, count: int
) -> list[str]:
    """Return the candidates, requested all at once; failed ones are left out.

    Raises GatewayError when all failed.
    """
    messages = calls.request.body["messages"]
    hints = await asyncio.to_thread(choose_starting_points, messages, options.sampling, count)
    fields: JsonObject = {"max_tokens": options.candidate_tokens}
    if options.temperature is not None:
        fields["temperature"] = options.temperature
    errors: list[GatewayError] = []

    async def request_draft(number: int, hint: str) -> str:
        instructions = render_draft_instructions(plan, hint)
        try:
            answer = await calls.request_intermediate_answer(
                f"candidate {number}", prepend_instructions(messages, instructions), **fields
            )
        except GatewayError as error:
            errors.append(error)
            return ""
        return answer.text

    calls.reserve_calls(count)
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(request_draft(number, hint)) for number, hint in enumerate(hints, 1)
        ]
    drafts = [text for task in tasks if (text := task.result()).strip()]
    if drafts:
        return drafts
    if errors:
        raise errors[-1]
    raise BadResponse("No candidate of the answer has text.")


def append_user_message(messages: Sequence[JsonObject], text: str) -> list[JsonObject]:
    """Return the caller's messages and one more user message."""
    return [*messages, {"role": "user", "content": text}]


def render_draft_instructions(plan: str, hint: str) -> str:
    """Return the instructions for one draft, with the plan if there is one."""
    paragraphs = [prompts.CANDIDATE_PROMPT]
    if plan:
        paragraphs.append(prompts.PLAN_PROMPT.format(plan=plan))
    paragraphs.append(hint)
    return "\n\n".join(paragraphs)


def choose_starting_points(messages: Sequence[JsonObject], sampling: str, count: int) -> list[str]:
    """Return the starting point of each candidate.

    It is a passage of the caller's texts or, where these are a single passage, an angle from which
    to look at the question.
    """
    question = extract_question(messages)
    inputs = [message for message in messages if message["role"] != "assistant"]
    text = "\n\n".join(join_texts(message.get("content")) for message in inputs)
    passages = list_passages(text)
    rng = random.Random()  # noqa: S311 - nothing secret depends on it
    if len(passages) < 2:
        return sample_passages(sampling, prompts.ANGLES, question, count, rng)
    chosen = sample_passages(sampling, passages, question, count, rng)
    return [prompts.PASSAGE_PROMPT.format(passage=passage) for passage in chosen]
