"""Make the messages of a strategy's questions, each within the window of the model.

A question is the caller's messages with instructions in front and messages behind. Where they are
too long together, the long texts of the caller are shortened to what the additions leave. Additions
that would leave too little are the strategy's to shorten: `measure_room` says how much there is.
"""

from collections.abc import Sequence

from msgspec import Struct

from conversations.prompts.fit_prompt import MIN_LONG_TEXT_SHARE, PromptFitter
from conversations.prompts.long_texts import extract_question
from conversations.prompts.text_shortener import FitHelpers, TextShortener
from conversations.text.token_estimate import MESSAGE_TOKENS, estimate_tokens
from conversations.upstream_calls.strategy_calls import prepend_instructions
from providers.catalogue import Candidate, find_smallest_window
from providers.protocol.json_types import JsonObject
from providers.protocol.message_text import join_texts
from providers.protocol.request import ChatRequest


class Question(Struct, frozen=True):
    """A question of a strategy: its additions to the caller's messages, and the answer it wants.

    `answer_tokens` is the limit of the answer, None without one. The final question has the tools
    and formats of the caller, too.
    """

    instructions: str = ""
    additions: Sequence[JsonObject] = ()
    answer_tokens: int | None = None
    is_final: bool = False


class StrategyQuestions:
    """The questions of one request."""

    def __init__(self, request: ChatRequest, fitter: PromptFitter) -> None:
        self._body = request.body
        self._fitter = fitter

    async def make_messages(self, question: Question) -> list[JsonObject]:
        """Return the messages of a question. Raises InvalidRequest, Saturated."""
        messages: list[JsonObject] = self._body["messages"]
        added_tokens = count_added_tokens(question.instructions, question.additions)
        fitted = await self._fitter.shorten_body(self._make_body(question), added_tokens)
        if fitted is not None:
            messages = fitted.body["messages"]
        if question.instructions:
            messages = prepend_instructions(messages, question.instructions)
        return [*messages, *question.additions]

    async def measure_room(
        self, question: Question, text_share: float = MIN_LONG_TEXT_SHARE
    ) -> int:
        """Return the most tokens that may be added to a question, less those that it adds now.

        The caller's long texts keep this share of the prompt.
        """
        room = await self._fitter.measure_room(self._make_body(question), text_share)
        return room - count_added_tokens(question.instructions, question.additions)

    def _make_body(self, question: Question) -> JsonObject:
        """Return the fields of the question's body that take room in the window."""
        body = dict(self._body) if question.is_final else {"messages": self._body["messages"]}
        if question.answer_tokens is not None:
            body = {"max_tokens": question.answer_tokens, **body}
        return body


def make_plain_fitter(request: ChatRequest, candidates: Sequence[Candidate]) -> PromptFitter:
    """Return the fitter of a request that is short and whose texts are not stored."""
    options = candidates[0].options
    question = extract_question(request.body["messages"])
    shortener = TextShortener(None, options, FitHelpers(), question)
    policy = request.long_prompts or candidates[0].long_prompts
    return PromptFitter(request.body, find_smallest_window(candidates), shortener, policy)


def count_added_tokens(instructions: str, additions: Sequence[JsonObject]) -> int:
    """Estimate the tokens of what a strategy adds to a prompt."""
    tokens = sum(
        MESSAGE_TOKENS + estimate_tokens(join_texts(message.get("content")))
        for message in additions
    )
    if instructions:
        tokens += MESSAGE_TOKENS + estimate_tokens(instructions)
    return tokens
