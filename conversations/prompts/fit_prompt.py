"""Shorten a prompt that is longer than its model's window before it goes upstream.

A `PromptFitter` knows a caller's messages and the window of the model in tokens. It returns None
when everything fits, which is tested first and cheaply. Otherwise it returns a `FittedPrompt`: the
body with its long texts (`long_texts.py`) cut to what suits the last question, and the ids of the
documents that were used. A strategy asks it once for each of its questions, with the tokens that it
adds. Tokens are estimated (`token_estimate.py`).

`policy` is choices.LongPrompts: "fit", "refuse", or empty, which fits the prompts of people and the
files of agents. Instructions of an agent, that is of a request that offers tools, are not shortened
unless the policy says "fit": a prompt that is too long with them is refused.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from conversations.prompts.long_texts import (
    LongText,
    estimate_overhead,
    estimate_prompt_tokens,
    list_long_texts,
    replace_texts,
)
from conversations.prompts.text_shortener import TextShortener
from conversations.prompts.token_budget import PromptLimits, compute_prompt_limits
from providers.choices import LongPrompts
from providers.exceptions import InvalidRequest
from providers.protocol.json_types import FrozenJsonObject, JsonObject
from providers.protocol.message_text import list_prompt_texts

# long texts get at least this share of the budget, as far as the window allows
MIN_LONG_TEXT_SHARE = 0.25
# the room of long texts changes in so many steps, so that an excerpt stays the same for several
# turns
ROOM_STEPS = 16
QUICK_CHARS = 200_000  # longer texts are counted in a thread
UNLIMITED_TOKENS = 1_000_000_000
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class FittedPrompt:
    """The body for the upstream, and the ids of the documents that it was made with."""

    body: JsonObject
    document_ids: list[str] = field(default_factory=list)


class PromptFitter:
    """Fits a caller's messages into a window, as often as a strategy asks.

    `window_tokens` None: the window is not known, and everything goes as it is. The texts are
    counted and divided once.
    """

    def __init__(
        self,
        body: FrozenJsonObject,
        window_tokens: int | None,
        shortener: TextShortener,
        policy: str = "",
    ) -> None:
        self._messages: list[JsonObject] = body["messages"]
        self._window_tokens = window_tokens
        self._shortener = shortener
        self._may_fit = policy != LongPrompts.REFUSE
        offers_tools = bool(body.get("tools") or body.get("functions"))
        self._keeps_instructions = offers_tools and policy != LongPrompts.FIT
        self._message_tokens: int | None = None
        self._long_texts: list[LongText] | None = None

    async def require_room(self, body: FrozenJsonObject) -> None:
        """Raise InvalidRequest when the prompt is too long and may not be shortened.

        The error is OpenAI's for a prompt that exceeds the context window.
        """
        if self._window_tokens is None or (self._may_fit and not self._keeps_instructions):
            return
        limits = compute_prompt_limits(self._window_tokens, body)
        if self._is_surely_short(body, limits.most_tokens):
            return
        tokens = await self._count_tokens(body)
        if tokens <= limits.most_tokens:
            return
        if self._may_fit:  # the texts of files may be shortened, instructions may not
            file_tokens = sum(text.tokens for text in await self._find_long_texts())
            has_instructions = any(text.is_instruction for text in self._long_texts or ())
            if not has_instructions or tokens - file_tokens <= limits.most_tokens:
                return
        raise make_too_long_error(self._window_tokens, tokens, limits)

    async def shorten_body(
        self, body: FrozenJsonObject, added_tokens: int = 0
    ) -> FittedPrompt | None:
        """Return the body with its long texts shortened, or None when it may go as it is.

        `body` has the caller's messages and is not changed; `added_tokens` are for what a strategy
        adds to it. None means that the prompt fits, or that no text in it may be shortened. Raises
        InvalidRequest, Saturated, DatabaseUnavailable.
        """
        if self._window_tokens is None:
            return None
        limits = compute_prompt_limits(self._window_tokens, body)
        if self._is_surely_short(body, limits.budget_tokens - added_tokens):
            return None
        tokens = await self._count_tokens(body) + added_tokens
        if tokens <= limits.budget_tokens:
            return None
        long_texts = await self._find_long_texts()
        if not long_texts:
            return None
        other_tokens = tokens - sum(text.tokens for text in long_texts)
        room = calculate_text_room(limits.budget_tokens, other_tokens, limits.most_tokens)
        return await self._shorten_texts(body, long_texts, room)

    async def measure_room(
        self, body: FrozenJsonObject, text_share: float = MIN_LONG_TEXT_SHARE
    ) -> int:
        """Return the most tokens that a strategy may add to the prompt with this body.

        The long texts keep this share of the budget, or all their tokens if they have fewer.
        """
        if self._window_tokens is None:
            return UNLIMITED_TOKENS
        budget = compute_prompt_limits(self._window_tokens, body).budget_tokens
        tokens = await self._count_tokens(body)
        long_text_tokens = sum(text.tokens for text in await self._find_long_texts())
        least_tokens = min(long_text_tokens, int(text_share * budget))
        return max(0, budget - (tokens - long_text_tokens) - least_tokens)

    async def _shorten_texts(
        self, body: FrozenJsonObject, long_texts: list[LongText], room: int
    ) -> FittedPrompt:
        """Return the body with its long texts in so many tokens, shared by their lengths."""
        long_text_tokens = sum(text.tokens for text in long_texts)
        document_ids: list[str] = []
        replacements: dict[tuple[int, int | None], str] = {}
        for long_text in long_texts:
            share = room * long_text.tokens // long_text_tokens
            used_ids, short_text = await self._shortener.store_and_shorten(long_text, share)
            replacements[long_text.message_index, long_text.part_index] = short_text
            document_ids += used_ids
        messages = replace_texts(self._messages, replacements)
        return FittedPrompt(
            {**body, "messages": messages}, list(dict.fromkeys(filter(None, document_ids)))
        )

    async def _find_long_texts(self) -> list[LongText]:
        """Return the texts that may be shortened."""
        if not self._may_fit:
            return []
        if self._long_texts is None:
            chars = sum(map(len, list_prompt_texts({"messages": self._messages})))
            self._long_texts = await offload_if_long(
                partial(list_long_texts, self._messages), chars
            )
        if self._keeps_instructions:
            return [text for text in self._long_texts if not text.is_instruction]
        return self._long_texts

    def _is_surely_short(self, body: FrozenJsonObject, most_tokens: int) -> bool:
        """Return whether a prompt has few characters: one is never more than a token here."""
        chars = sum(len(text) for text in list_prompt_texts(body))
        return chars + estimate_overhead(self._messages) <= most_tokens

    async def _count_tokens(self, body: FrozenJsonObject) -> int:
        """Estimate the tokens of the body; those of its messages are estimated once."""
        if self._message_tokens is None:
            bare_body = {"messages": self._messages}
            chars = sum(map(len, list_prompt_texts(bare_body)))
            self._message_tokens = await offload_if_long(
                partial(estimate_prompt_tokens, bare_body), chars
            )
        return self._message_tokens + estimate_prompt_tokens({**body, "messages": []})


def make_too_long_error(
    window_tokens: int, prompt_tokens: int, limits: PromptLimits
) -> InvalidRequest:
    """Return the error for a prompt that exceeds the context window, in OpenAI's words."""
    answer_tokens = window_tokens - limits.most_tokens
    wanted = f", and {answer_tokens} are asked for the answer" if answer_tokens else ""
    return InvalidRequest(
        f"This model's maximum context length is {window_tokens} tokens. However, your messages "
        f"resulted in about {prompt_tokens} tokens{wanted}. Please reduce the length of the "
        "messages.",
        param="messages",
        code="context_length_exceeded",
    )


def calculate_text_room(budget: int, other_tokens: int, max_tokens: int) -> int:
    """Return the tokens available for long texts.

    It is `budget` less `other_tokens`, the tokens of everything else in the prompt, but at least
    MIN_LONG_TEXT_SHARE of the budget, as long as prompt and answer fit the window (`max_tokens`
    tokens for the prompt). A result of more than one step is rounded down to whole steps, of which
    the budget has ROOM_STEPS.
    """
    wanted = max(budget - other_tokens, int(MIN_LONG_TEXT_SHARE * budget))
    room = min(wanted, max(0, max_tokens - other_tokens))
    step = max(1, budget // ROOM_STEPS)
    return room - room % step if room > step else room


async def offload_if_long(work: Callable[[], Result], chars: int) -> Result:
    """Return the result of `work`; run it in a thread when the texts are long."""
    if chars <= QUICK_CHARS:
        return work()
    return await asyncio.to_thread(work)
