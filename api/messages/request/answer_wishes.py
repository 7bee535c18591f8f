"""The parts of a request that decide how its answer is rendered."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct


class AnswerWishes(Struct, frozen=True):
    """The wishes of a request about thinking and stop sequences in its answer."""

    shows_thinking: bool = False
    omits_thinking_text: bool = False  # the text is sealed in the signature
    stop_sequences: frozenset[str] = frozenset()


def read_answer_wishes(body: Mapping[str, Any], thinking_row: str = "") -> AnswerWishes:
    """Return the wishes of a validated Messages body.

    `thinking_row` is choices.Thinking of the model's alias; one that says `reasoning` shows
    thinking that was not asked for.
    """
    thinking = body.get("thinking") or {}
    is_wanted = thinking.get("type") not in (None, "disabled")
    return AnswerWishes(
        shows_thinking=is_wanted or (thinking_row == "reasoning" and not thinking),
        omits_thinking_text=thinking.get("display") == "omitted",
        stop_sequences=frozenset(body.get("stop_sequences") or ()),
    )
