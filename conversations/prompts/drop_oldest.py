"""Drop the oldest turns of a prompt that is too long, as OpenAI's `truncation: "auto"` does.

A turn is a message of the user with everything behind it, so that no call loses its output.
Instructions stay, and so does the last turn. Token counts are estimates.
"""

from collections.abc import Sequence

import orjson

from conversations.text.token_estimate import estimate_tokens
from providers.protocol.json_types import JsonObject
from providers.protocol.message_text import SYSTEM_ROLES, join_texts


def estimate_prompt_tokens(messages: Sequence[JsonObject]) -> int:
    """Estimate the tokens of the texts and calls of chat messages."""
    return sum(map(estimate_message_tokens, messages))


def estimate_message_tokens(message: JsonObject) -> int:
    """Estimate the tokens of the text and the calls of a message."""
    tokens = estimate_tokens(join_texts(message.get("content")))
    if calls := message.get("tool_calls"):
        tokens += estimate_tokens(orjson.dumps(calls).decode())
    return tokens


def drop_oldest_turns(messages: Sequence[JsonObject], most_tokens: int) -> list[JsonObject]:
    """Return the messages without as many of the oldest turns as it takes to keep to the limit."""
    costs = [estimate_message_tokens(message) for message in messages]
    excess = sum(costs) - most_tokens
    if excess <= 0:
        return list(messages)
    starts = [place for place, message in enumerate(messages) if message["role"] == "user"]
    dropped: set[int] = set()
    for start, end in zip([0, *starts], starts, strict=False):
        if excess <= 0:
            break
        places = [p for p in range(start, end) if messages[p]["role"] not in SYSTEM_ROLES]
        dropped.update(places)
        excess -= sum(costs[place] for place in places)
    return [message for place, message in enumerate(messages) if place not in dropped]
