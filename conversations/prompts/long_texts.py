"""Find the long texts and the question of a chat body, and estimate its tokens. No I/O.

Long texts are the ones that may be shortened: system and developer messages, and the texts of files
(`providers/filters/file_parts.py`). Short texts and a user's own messages are never shortened.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from conversations.text.terms import extract_terms
from conversations.text.token_estimate import ATTACHMENT_TOKENS, MESSAGE_TOKENS, estimate_tokens
from providers.filters.file_parts import FILE_ID_FIELD, TEXT_FIELD
from providers.protocol.message_text import SYSTEM_ROLES, join_typed_texts, list_prompt_texts

SHORT_CHARS = 2_000  # a text of at most so many characters is never shortened
FEW_TERMS = 3  # a question with fewer terms is joined with the earlier ones
MAX_QUESTION_MESSAGES = 3  # user messages at most that form one question
TERM_CHARS = 2_000  # of a message that are searched for terms


@dataclass(frozen=True, slots=True)
class LongText:
    """A long text and its place in the messages.

    `message_index` and `part_index` are indexes; `part_index` None means the whole content.
    `tokens` is an estimate. `file_id` is the stored file that the text comes from. `is_instruction`
    is true for a system message.
    """

    message_index: int
    part_index: int | None
    text: str
    tokens: int
    is_instruction: bool
    file_id: str = ""


def list_long_texts(messages: Sequence[dict[str, Any]]) -> list[LongText]:
    """List the texts of messages that may be shortened."""
    found = []
    for at, message in enumerate(messages):
        content = message.get("content")
        system = message.get("role") in SYSTEM_ROLES
        if isinstance(content, str):
            if system and len(content) > SHORT_CHARS:
                found.append(
                    LongText(at, None, content, estimate_tokens(content), is_instruction=True)
                )
        elif isinstance(content, list):
            for place, part in enumerate(content):
                text = part.get(TEXT_FIELD)
                filed = part.get("type") == "file"
                if isinstance(text, str) and (system or filed) and len(text) > SHORT_CHARS:
                    file_id = (part.get(FILE_ID_FIELD) or "") if filed else ""
                    size = estimate_tokens(text)
                    found.append(
                        LongText(at, place, text, size, is_instruction=not filed, file_id=file_id)
                    )
    return found


def replace_texts(
    messages: Sequence[dict[str, Any]], replacements: dict[tuple[int, int | None], str]
) -> list[dict[str, Any]]:
    """Return a copy of the messages with these texts replaced, by (message, part)."""
    new = list(messages)
    for (at, place), text in replacements.items():
        if place is None:
            new[at] = new[at] | {"content": text}
        else:
            parts = list(new[at]["content"])
            parts[place] = parts[place] | {TEXT_FIELD: text}
            new[at] = new[at] | {"content": parts}
    return new


# --- what is asked --------------------------------------------------------------------------------
def extract_question(messages: Sequence[dict[str, Any]]) -> str:
    """Return the user's last message, without the texts of files.

    When it has few terms, up to MOST_ASKED of the last user messages are joined.
    """
    said: list[str] = []
    for message in reversed(messages):
        if message["role"] == "user":
            said.insert(0, join_typed_texts(message.get("content")))
            if (
                len(said) == MAX_QUESTION_MESSAGES
                or len({word for text in said for word in extract_terms(text[:TERM_CHARS])})
                >= FEW_TERMS
            ):
                break
    return "\n".join(filter(None, said))


# --- tokens ---------------------------------------------------------------------------------------
def count_images(messages: Sequence[dict[str, Any]]) -> int:
    """Count the image parts of chat messages."""
    contents = (message.get("content") for message in messages)
    parts = (part for content in contents if isinstance(content, list) for part in content)
    return sum(part.get("type") == "image_url" for part in parts)


def estimate_prompt_tokens(body: dict[str, Any]) -> int:
    """Estimate the tokens of a chat body: its texts, messages and images."""
    return sum(map(estimate_tokens, list_prompt_texts(body))) + estimate_overhead(body["messages"])


def estimate_overhead(messages: Sequence[dict[str, Any]]) -> int:
    """Estimate the tokens of everything but text: the frame of each message, and images."""
    return MESSAGE_TOKENS * len(messages) + ATTACHMENT_TOKENS * count_images(messages)
