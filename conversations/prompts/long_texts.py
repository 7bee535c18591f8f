"""Find the long texts and the question of a chat body, and estimate its tokens. No I/O.

Long texts are the ones that may be shortened: system and developer messages, and the texts of files
(`providers/filters/file_parts.py`). Short texts and a user's own messages are never shortened.
"""

# ruff: noqa: RUF001 - Chinese punctuation is the matter here
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeGuard

from conversations.text.terms import count_words
from conversations.text.token_estimate import ATTACHMENT_TOKENS, MESSAGE_TOKENS, estimate_tokens
from providers.filters.file_parts import FILE_ID_FIELD, TEXT_FIELD
from providers.protocol.json_types import FrozenJsonObject, JsonObject
from providers.protocol.message_text import SYSTEM_ROLES, join_typed_texts, list_prompt_texts

SHORT_CHARS = 2_000  # a text of at most so many characters is never shortened
FEW_WORDS = 3  # a question with fewer words is joined with the earlier ones
FEW_REFERRING_WORDS = 8  # the same for one that refers to something named before
MAX_QUESTION_MESSAGES = 3  # user messages at most that form one question
QUESTION_CHARS = 2_000  # of a message that are searched for words
# words of a question that mean something named before
REFERRING_WORDS = re.compile(
    r"\b(?:he|him|his|she|her|hers|it|its|they|them|their|this|that|these|those|there|then)\b"
    r"|[他她它其该]|这|那|此|前者|后者|呢[？?\s]*\Z|彼|それ|その|これ|この",
    re.IGNORECASE,
)


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


def list_long_texts(messages: Sequence[JsonObject]) -> list[LongText]:
    """List the texts of messages that may be shortened."""
    long_texts: list[LongText] = []
    for index, message in enumerate(messages):
        content = message.get("content")
        is_instruction = message.get("role") in SYSTEM_ROLES
        if isinstance(content, list):
            long_texts += list_long_parts(index, content, is_instruction=is_instruction)
        elif is_instruction and is_long(content):
            tokens = estimate_tokens(content)
            long_texts.append(LongText(index, None, content, tokens, is_instruction=True))
    return long_texts


def list_long_parts(
    message_index: int, parts: Sequence[JsonObject], *, is_instruction: bool
) -> list[LongText]:
    """List the parts of a message that may be shortened: texts of files, and instructions."""
    long_texts: list[LongText] = []
    for part_index, part in enumerate(parts):
        text = part.get(TEXT_FIELD)
        is_file = part.get("type") == "file"
        if not is_long(text) or not (is_file or is_instruction):
            continue
        file_id = ""
        if is_file:
            file_id = part.get(FILE_ID_FIELD) or ""
        tokens = estimate_tokens(text)
        long_texts.append(
            LongText(
                message_index, part_index, text, tokens, is_instruction=not is_file, file_id=file_id
            )
        )
    return long_texts


def is_long(text: object) -> TypeGuard[str]:
    """Return whether a value is a text that may be worth shortening."""
    return isinstance(text, str) and len(text) > SHORT_CHARS


def replace_texts(
    messages: Sequence[JsonObject], replacements: dict[tuple[int, int | None], str]
) -> list[JsonObject]:
    """Return a copy of the messages with these texts replaced, by (message, part)."""
    changed = list(messages)
    for (message_index, part_index), text in replacements.items():
        message = changed[message_index]
        if part_index is None:
            content: str | list[JsonObject] = text
        else:
            content = list(message["content"])
            content[part_index] = content[part_index] | {TEXT_FIELD: text}
        changed[message_index] = message | {"content": content}
    return changed


# --- the question ---------------------------------------------------------------------------------
def extract_question(messages: Sequence[JsonObject]) -> str:
    """Return the user's last message, without the texts of files.

    When it says little by itself, up to MAX_QUESTION_MESSAGES of the last user messages are joined.
    """
    texts: list[str] = []  # the newest first
    for message in reversed(messages):
        if message["role"] != "user":
            continue
        texts.append(join_typed_texts(message.get("content")))
        if len(texts) == MAX_QUESTION_MESSAGES or not needs_context(texts):
            break
    return "\n".join(filter(None, reversed(texts)))


def needs_context(texts: Sequence[str]) -> bool:
    """Return whether these texts of a user say too little to be found without what came before."""
    beginnings = [text[:QUESTION_CHARS] for text in texts]
    word_count = count_words("\n".join(beginnings))
    if word_count >= FEW_REFERRING_WORDS:
        return False
    return word_count < FEW_WORDS or any(map(REFERRING_WORDS.search, beginnings))


# --- tokens ---------------------------------------------------------------------------------------
def count_images(messages: Sequence[JsonObject]) -> int:
    """Count the image parts of chat messages."""
    contents = (message.get("content") for message in messages)
    parts = (part for content in contents if isinstance(content, list) for part in content)
    return sum(part.get("type") == "image_url" for part in parts)


def estimate_prompt_tokens(body: FrozenJsonObject) -> int:
    """Estimate the tokens of a chat body: its texts, messages and images."""
    return sum(map(estimate_tokens, list_prompt_texts(body))) + estimate_overhead(body["messages"])


def estimate_overhead(messages: Sequence[JsonObject]) -> int:
    """Estimate the tokens of everything but text: the frame of each message, and images."""
    return MESSAGE_TOKENS * len(messages) + ATTACHMENT_TOKENS * count_images(messages)
