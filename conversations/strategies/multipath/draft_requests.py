"""Ask the model for a plan and for several drafts of the answer, each by an upstream call."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import itemgetter

from conversations.prompts.long_texts import extract_question
from conversations.prompts.strategy_questions import Question, StrategyQuestions
from conversations.strategies.multipath import multipath_options as prompts
from conversations.strategies.multipath.multipath_options import MultipathOptions
from conversations.strategies.multipath.passage_sampling import list_passages, sample_passages
from conversations.text.token_estimate import estimate_tokens
from conversations.text.trim_texts import cut_text
from conversations.upstream_calls.strategy_calls import UNRETRYABLE_ERRORS, StrategyCalls
from providers.exceptions import BadResponse, GatewayError
from providers.protocol.json_types import JsonObject
from providers.protocol.message_text import join_texts

DRAFT_TEXT_SHARE = 0.6  # of a candidate's prompt, for the long texts that it is about
NO_TEXT_MESSAGE = "No candidate of the answer has text."


@dataclass(slots=True)
class DraftResults:
    """The drafts that came, and why the others did not, as JSON for the caller."""

    drafts: list[str] = field(default_factory=list)
    rejected: list[JsonObject] = field(default_factory=list)


async def request_plan(calls: StrategyCalls, questions: StrategyQuestions) -> str:
    """Return the plan, or an empty string when the upstream failed, as a plan is optional.

    Raises GatewayError only when further calls would fail too.
    """
    question = Question(additions=[make_user_message(prompts.FRAMEWORK_PROMPT)])
    messages = await questions.make_messages(question)
    try:
        answer = await calls.request_intermediate_answer("framework", messages)
    except UNRETRYABLE_ERRORS:
        raise
    except GatewayError:
        return ""
    return answer.text


async def request_drafts(
    calls: StrategyCalls,
    questions: StrategyQuestions,
    options: MultipathOptions,
    plan: str,
    count: int,
) -> DraftResults:
    """Return the candidates, requested all at once, each within the window.

    Raises GatewayError when all failed.
    """
    instructions = await write_instructions(questions, options, plan, count)
    fields: JsonObject = {"max_tokens": options.candidate_tokens}
    if options.temperature is not None:
        fields["temperature"] = options.temperature
    errors: list[GatewayError] = []
    results = DraftResults()

    async def request_draft(number: int, text: str) -> str:
        try:
            question = Question(text, answer_tokens=options.candidate_tokens)
            messages = await questions.make_messages(question)
            answer = await calls.request_intermediate_answer(
                f"candidate {number}", messages, **fields
            )
        except GatewayError as error:
            errors.append(error)
            results.rejected.append({"candidate": number, **describe_error(error)})
            return ""
        if not answer.text.strip():
            results.rejected.append(
                {"candidate": number, **describe_error(BadResponse(NO_TEXT_MESSAGE))}
            )
        return answer.text

    calls.reserve_calls(count)
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(request_draft(number, text))
            for number, text in enumerate(instructions, 1)
        ]
    results.drafts = [text for task in tasks if (text := task.result()).strip()]
    results.rejected.sort(key=itemgetter("candidate"))
    if not results.drafts:
        raise errors[-1] if errors else BadResponse(NO_TEXT_MESSAGE)
    return results


async def write_instructions(
    questions: StrategyQuestions, options: MultipathOptions, plan: str, count: int
) -> list[str]:
    """Return the instructions of each candidate, as long as leaves room for the caller's texts.

    The texts keep DRAFT_TEXT_SHARE of the prompt. A long plan gets half of the other room, the
    starting point gets the rest.
    """
    fitted_messages = await questions.make_messages(
        Question(answer_tokens=options.candidate_tokens)
    )
    hints = await asyncio.to_thread(
        choose_starting_points, fitted_messages, options.sampling, count
    )
    frame = render_draft_instructions("-", "")
    question = Question(frame, answer_tokens=options.candidate_tokens)
    room = await questions.measure_room(question, DRAFT_TEXT_SHARE)
    plan = cut_text(plan, room // 2)
    hint_room = room - estimate_tokens(plan)
    return [render_draft_instructions(plan, cut_text(hint, hint_room)) for hint in hints]


def describe_error(error: GatewayError) -> JsonObject:
    """Return why there is no draft, as the caller gets it."""
    return {"code": error.shown_code, "message": error.message}


def make_user_message(text: str) -> JsonObject:
    return {"role": "user", "content": text}


def render_draft_instructions(plan: str, hint: str) -> str:
    """Return the instructions for one draft, with the plan if there is one."""
    paragraphs = [prompts.CANDIDATE_PROMPT]
    if plan:
        paragraphs.append(prompts.PLAN_PROMPT.format(plan=plan))
    paragraphs.append(hint)
    return "\n\n".join(filter(None, paragraphs))


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
