"""How many tokens of a model's window a prompt may have, and how many are the answer's. No I/O."""

from typing import Any

from django.conf import settings


def prompt_tokens(window: int, body: dict[str, Any]) -> int:
    """Tokens of the whole prompt: its share of the window, or what the window leaves when the
    answer has its room.
    """
    return int(min(window * settings.PROMPT_SHARE, window - answer_tokens(window, body)))


def answer_tokens(window: int, body: dict[str, Any]) -> int:
    """Tokens that the body asks for; at most half of the window, else nothing would be left to
    ask.
    """
    asked = (
        body.get("max_completion_tokens")
        or body.get("max_tokens")
        or body.get("max_output_tokens")
        or 0
    )
    return int(min(asked, window // 2))
