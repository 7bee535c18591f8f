"""A prompt that is longer than its model's window, made to fit before it goes upstream.

In: a chat body, its user, the model's window in tokens and the options of its row. Out: None when everything fits,
which is tested first and cheaply; else a `Fitted` body in which the long texts (system and developer messages, and the
texts of files: `providers/filters/attachments.py`) are excerpts for the last question, and the documents that were
used. Short prompts and what users say themselves are never touched. Tokens are estimated by length.
"""

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import orjson
from django.conf import settings

from conversations.documents import ingest
from conversations.documents.compress import Plan, acompress
from conversations.documents.divide import Splitting, whole
from conversations.documents.excerpt import Frame, excerpt
from conversations.documents.recall import Embed, asked, ranking
from conversations.usage import PER_MESSAGE
from providers.exceptions import InvalidRequest
from providers.filters.attachments import TEXT
from providers.offloop import heard, off_loop

SYSTEM = ("system", "developer")
SHORT_CHARS = 2_000  # a text of so many characters is never shortened
IMAGE_TOKENS = 1_000
LEAST_SHARE = 0.25  # of the budget that long texts have, however long the conversation is
STEPS = 16  # the room of long texts changes in so many steps: what is shown of them stays the same for some turns
SLICE_CHARS = 65_536
QUICK_CHARS = 200_000  # more are weighed in a thread
TRIES = 4  # to get an excerpt under its tokens
DENSE = re.compile("[\u2e80-\U0010ffff]+")
Summarise = Callable[[list[str]], Awaitable[Sequence[str]]]


@dataclass(frozen=True, slots=True)
class Means:
    """What fitting may use besides: embeddings of questions, and a model's summaries."""

    embed: Embed | None = None
    summarise: Summarise | None = None


@dataclass(frozen=True, slots=True)
class Fitted:
    """The body that goes upstream, and the ids of the documents that it was made with."""

    body: dict[str, Any]
    documents: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Long:
    """A long text and where in the messages it stands: message, part (None: the whole content)."""

    message: int
    part: int | None
    text: str
    tokens: int


async def fit(
    body: dict[str, Any], user_id: int | None, window_tokens: int, options: dict[str, Any], means: Means | None = None
) -> Fitted | None:
    """None when the prompt fits into its share of the window or has no long text, else the fitted body; `body` stays
    as it is. `user_id` None: nothing is stored. Raises InvalidRequest, Saturated, DatabaseUnavailable.
    """
    budget = int(settings.PROMPT_SHARE * window_tokens)
    messages = body["messages"]
    chars = sum(len(text) for text in texts(body))
    if chars + IMAGE_TOKENS * images(messages) + PER_MESSAGE * len(messages) <= budget:
        return None  # a character is never more than one token here
    total = await weighed(partial(weight, body), chars)
    if total <= budget:
        return None
    found = await weighed(partial(long_texts, messages), chars)
    if not found:
        return None
    taken = sum(long.tokens for long in found)
    room = max(budget - (total - taken), int(LEAST_SHARE * budget))
    room -= room % max(1, budget // STEPS)
    work = Work(user_id, options, means or Means(), question_of(messages))
    documents: list[str] = []
    replaced: dict[tuple[int, int | None], str] = {}
    for long in found:
        used, replaced[long.message, long.part] = await work.shortened(long, room * long.tokens // taken)
        documents += used
    return Fitted(body | {"messages": changed(messages, replaced)}, list(dict.fromkeys(filter(None, documents))))


@dataclass(frozen=True, slots=True)
class Work:
    """What is the same for all long texts of a request."""

    user_id: int | None
    options: dict[str, Any]
    means: Means
    question: str

    async def shortened(self, long: Long, room: int) -> tuple[list[str], str]:
        """The long text within `room` tokens, and the ids of its documents."""
        if len(long.text) > settings.FILE_TEXT_CHARS:
            most = settings.FILE_TEXT_CHARS
            raise InvalidRequest(
                f"A text of this request has more than {most} characters.",
                param="messages",
                code="context_length_exceeded",
            )
        splitting = Splitting.of(self.options)
        known = await ingest.take_in(self.user_id, long.text, splitting)
        given = self.options.get("rag")
        most = max(0, whole(given.get("top_k"), 0)) if isinstance(given, dict) else 0
        question = await asked(self.question, self.means.embed if known.document_id else None, most)
        chars = int(room * len(long.text) / max(long.tokens, 1))
        brief, summary_id = "", ""
        if self.options.get("summarise") and self.means.summarise is not None:
            brief, summary_id = await self.brief(long.text, splitting, chars // 2, self.means.summarise)
        frame = Frame(chars, self.threshold, brief)

        def cut() -> str:
            hits = ranking(known, question) if self.question.strip() else []
            return within_tokens(partial(excerpt, long.text, known.outline, hits), frame, room)

        return [known.document_id, summary_id], await heard(off_loop(cut))

    async def brief(self, text: str, splitting: Splitting, chars: int, summarise: Summarise) -> tuple[str, str]:
        """What is left of a text when a model has summarised what says little; made once for each size, of which there
        are few."""
        budget = 1 << max(chars, 1).bit_length() - 1
        plan = Plan(budget, splitting.size, splitting.method, self.threshold or 0.5)

        async def make() -> str:
            return (await acompress(text, plan, summarise)).text

        digest = hashlib.sha256(f"summaries {budget} {splitting.digest(text)}".encode()).hexdigest()
        return await ingest.made_once(self.user_id, digest, make)

    @property
    def threshold(self) -> float:
        """0..1; OpenKimi's thresholds in bits mean nothing here."""
        given = self.options.get("processor")
        value = given.get("entropy_threshold") if isinstance(given, dict) else None
        return float(value) if isinstance(value, int | float) and 0 < value < 1 else 0.0


def within_tokens(made: Callable[[Frame], str], frame: Frame, room: int) -> str:
    """The excerpt; shorter while it is estimated above its room."""
    said = made(frame)
    for _ in range(TRIES):
        if (many := estimate(said)) <= room:
            break
        frame = replace(frame, budget=int(frame.budget * 0.95 * room / many), brief="")
        said = made(frame)
    return said


# --- messages ---------------------------------------------------------------------------------------------------------
def long_texts(messages: Sequence[dict[str, Any]]) -> list[Long]:
    """The texts that may be shortened: of system messages and of files."""
    return [
        Long(at, part, text, estimate(text))
        for at, message in enumerate(messages)
        for part, text in places(message)
        if len(text) > SHORT_CHARS
    ]


def places(message: dict[str, Any]) -> Iterator[tuple[int | None, str]]:
    """The texts of a message that are no conversation, with their parts."""
    content, system = message.get("content"), message.get("role") in SYSTEM
    if isinstance(content, str):
        if system:
            yield None, content
    elif isinstance(content, list):
        for at, part in enumerate(content):
            if isinstance(part.get(TEXT), str) and (system or part.get("type") == "file"):
                yield at, part[TEXT]


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


def question_of(messages: Sequence[dict[str, Any]]) -> str:
    """What the user said last, without the texts of his files."""
    for message in reversed(messages):
        if message["role"] == "user":
            content = message.get("content")
            if isinstance(content, str):
                return content
            parts = content if isinstance(content, list) else []
            said = (part.get("text") for part in parts if part.get("type") == "text")
            return "\n".join(text for text in said if isinstance(text, str))
    return ""


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


def images(messages: Sequence[dict[str, Any]]) -> int:
    contents = (message.get("content") for message in messages)
    return sum(part.get("type") == "image_url" for parts in contents if isinstance(parts, list) for part in parts)


def weight(body: dict[str, Any]) -> int:
    """The prompt's tokens, estimated."""
    messages = body["messages"]
    return sum(map(estimate, texts(body))) + PER_MESSAGE * len(messages) + IMAGE_TOKENS * images(messages)


def estimate(text: str) -> int:
    """`conversations.usage.tokens`, fast for long texts; the interpreter is let go in between."""
    if text.isascii():
        return (len(text) + 3) // 4
    dense = 0
    for start in range(0, len(text), SLICE_CHARS):
        piece = text[start : start + SLICE_CHARS]
        dense += len(piece) - len(DENSE.sub("", piece))
    return dense + (len(text) - dense + 3) // 4


async def weighed(work: Callable[[], Any], chars: int) -> Any:
    """What the work gives; for long texts it is done in a thread."""
    return work() if chars <= QUICK_CHARS else await asyncio.to_thread(work)
