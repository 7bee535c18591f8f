"""The long texts of a chat body and where they stand, what the user asks, and what a prompt weighs. No I/O.

Long texts are what may be shortened: system and developer messages, and the texts of files
(`providers/filters/attachments.py`). Short prompts and what users say themselves are none.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from conversations.documents.terms import terms
from conversations.token_estimate import ATTACHMENT_TOKENS, MESSAGE_TOKENS, estimate_tokens
from providers.filters.attachments import FILE_ID, TEXT

SYSTEM = ("system", "developer")
SHORT_CHARS = 2_000  # a text of so many characters is never shortened
FEW_TERMS = 3  # a question of fewer is understood by what was asked before
MOST_ASKED = 3  # messages of the user that are a question together
TERM_CHARS = 2_000  # of a message are enough to see whether it has terms


@dataclass(frozen=True, slots=True)
class Long:
    """A long text and where in the messages it stands: message, part (None: the whole content). `file_id`: the stored
    file whose text it is. `instructs`: it is a system message."""

    message: int
    part: int | None
    text: str
    tokens: int
    instructs: bool
    file_id: str = ""


def long_texts(messages: Sequence[dict[str, Any]]) -> list[Long]:
    """The texts that may be shortened."""
    found = []
    for at, message in enumerate(messages):
        content, system = message.get("content"), message.get("role") in SYSTEM
        if isinstance(content, str):
            if system and len(content) > SHORT_CHARS:
                found.append(Long(at, None, content, estimate_tokens(content), instructs=True))
        elif isinstance(content, list):
            for place, part in enumerate(content):
                text, filed = part.get(TEXT), part.get("type") == "file"
                if isinstance(text, str) and (system or filed) and len(text) > SHORT_CHARS:
                    file_id = (part.get(FILE_ID) or "") if filed else ""
                    size = estimate_tokens(text)
                    found.append(Long(at, place, text, size, instructs=not filed, file_id=file_id))
    return found


def changed(messages: Sequence[dict[str, Any]], replaced: dict[tuple[int, int | None], str]) -> list[dict[str, Any]]:
    """The messages with these texts instead of theirs."""
    new = list(messages)
    for (at, place), text in replaced.items():
        if place is None:
            new[at] = new[at] | {"content": text}
        else:
            parts = list(new[at]["content"])
            parts[place] = parts[place] | {TEXT: text}
            new[at] = new[at] | {"content": parts}
    return new


# --- what is asked ----------------------------------------------------------------------------------------------------
def question_of(messages: Sequence[dict[str, Any]]) -> str:
    """What the user said last, without the texts of his files; with what he said before when that says little."""
    said: list[str] = []
    for message in reversed(messages):
        if message["role"] == "user":
            said.insert(0, own_words(message.get("content")))
            if (
                len(said) == MOST_ASKED
                or len({word for text in said for word in terms(text[:TERM_CHARS])}) >= FEW_TERMS
            ):
                break
    return "\n".join(filter(None, said))


def own_words(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    said = (part.get("text") for part in parts if part.get("type") == "text")
    return "\n".join(text for text in said if isinstance(text, str))


# --- tokens -----------------------------------------------------------------------------------------------------------
def texts(body: dict[str, Any]) -> Iterator[str]:
    """Everything of a body that a model reads."""
    for message in body["messages"]:
        content = message.get("content")
        if isinstance(content, str):
            yield content
        elif isinstance(content, list):
            yield from (part["text"] for part in content if isinstance(part.get("text"), str))
        if message.get("tool_calls"):
            yield orjson.dumps(message["tool_calls"]).decode()
    for name in ("tools", "functions", "response_format"):
        if body.get(name):
            yield orjson.dumps(body[name]).decode()


def count_images(messages: Sequence[dict[str, Any]]) -> int:
    """Count the image parts of chat messages."""
    contents = (message.get("content") for message in messages)
    parts = (part for content in contents if isinstance(content, list) for part in content)
    return sum(part.get("type") == "image_url" for part in parts)


def estimate_prompt_tokens(body: dict[str, Any]) -> int:
    """Estimate the tokens of a chat body: its texts, messages and images."""
    return sum(map(estimate_tokens, texts(body))) + estimate_overhead(body["messages"])


def estimate_overhead(messages: Sequence[dict[str, Any]]) -> int:
    """Estimate the tokens of what is no text: the frame of each message, and images."""
    return MESSAGE_TOKENS * len(messages) + ATTACHMENT_TOKENS * count_images(messages)
