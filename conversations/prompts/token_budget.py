"""Compute how much of a model's window the prompt and the answer may use. No I/O."""

from collections.abc import Mapping
from typing import Any

from django.conf import settings


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
