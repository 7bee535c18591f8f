"""Compute how much of a model's window the prompt and the answer may use. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings


@dataclass(frozen=True, slots=True)
class PromptLimits:
    """The tokens that a prompt should have at most, and those that leave room for its answer."""

    budget_tokens: int
    most_tokens: int


def compute_prompt_limits(window: int, body: Mapping[str, Any]) -> PromptLimits:
    """Return the limits of a prompt in a window of so many tokens."""
    return PromptLimits(
        prompt_token_budget(window, body), window - answer_token_budget(window, body)
    )


def prompt_token_budget(window: int, body: Mapping[str, Any]) -> int:
    """Return the most tokens that the whole prompt may have.

    It is PROMPT_SHARE of the window, or less when the answer needs more than the rest.
    """
    return int(min(window * settings.PROMPT_SHARE, window - answer_token_budget(window, body)))


def answer_token_budget(window: int, body: Mapping[str, Any]) -> int:
    """Return the tokens that the body asks for, at most half of the window.

    With more there would be no room for the prompt.
    """
    limit = (
        body.get("max_completion_tokens")
        or body.get("max_tokens")
        or body.get("max_output_tokens")
        or 0
    )
    return int(min(limit, window // 2))
