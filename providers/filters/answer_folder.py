"""Fold the chunks of a stream into one whole answer. No I/O."""

from collections.abc import Iterable

from providers.exceptions import BadResponse
from providers.filters import conform
from providers.filters.native_calls import CONTENT_FIELDS, find_kind
from providers.protocol.chunks import Chunk
from providers.protocol.json_types import JsonObject

CHUNK_BYTES = 64  # size of a chunk of a whole answer, without its text
FOLDED_COMPLETION_FIELDS = frozenset(("text", "logprobs"))
FOLDED_CHOICE_FIELDS = frozenset(("index", "delta", "logprobs"))
JOINED_TEXT_FIELDS = frozenset(("content", "reasoning_content", "reasoning", "refusal"))
DETAIL_TEXT_FIELDS = ("text", "summary")  # of a detail of reasoning
JOINED_LIST_FIELDS = frozenset(("reasoning_details",))


class AnswerFolder:
    """One whole `chat.completion`, folded from a stream's chunks.

    Texts and arguments are joined; of other fields the last value is kept.
    """

    def __init__(self, most_answer_bytes: int) -> None:
        self._bytes_left = most_answer_bytes
        self._answer_fields: Chunk = {}
        self._choices: dict[int, JsonObject] = {}
        self._text_pieces: dict[tuple[int, str], list[str]] = {}  # by choice and field
        self._argument_pieces: dict[tuple[int, int], list[str]] = {}  # by choice and call

    def add_chunks(self, chunks: Iterable[Chunk]) -> None:
        """Fold chunks in. Raises BadResponse when the answer becomes too long."""
        for chunk in chunks:
            self._bytes_left -= CHUNK_BYTES
            self._answer_fields |= {
                name: value
                for name, value in chunk.items()
                if name != "choices" and value is not None
            }
            for choice in chunk["choices"]:
                self._add_choice(choice)
            if self._bytes_left < 0:
                raise BadResponse("The upstream sent too long an answer.")

    def _add_choice(self, choice: JsonObject) -> None:
        index = choice["index"]
        new_choice = {"index": index, "message": {}, "logprobs": None, "finish_reason": None}
        folded = self._choices.setdefault(index, new_choice)
        message = folded["message"]
        for name, value in (choice.get("delta") or {}).items():
            if name == "tool_calls":
                calls = message.setdefault("tool_calls", {})
                for part in value:
                    self._add_call_part(index, calls, part)
            elif name in JOINED_TEXT_FIELDS and isinstance(value, str):
                self._bytes_left -= len(value)
                self._text_pieces.setdefault((index, name), []).append(value)
                message[name] = ""  # keeps the order of the fields
            elif name in JOINED_LIST_FIELDS and isinstance(value, list):
                message[name] = add_detail_pieces(message.get(name) or [], value)
            elif value is not None or name not in message:
                message[name] = value
        add_logprobs(folded, choice.get("logprobs"))
        folded |= {
            name: value
            for name, value in choice.items()
            if name not in FOLDED_CHOICE_FIELDS and value is not None
        }

    def _add_call_part(
        self, choice_index: int, calls: dict[int, JsonObject], part: JsonObject
    ) -> None:
        """Add a part to its call: arguments are joined, of other fields the last value is kept."""
        call = calls.setdefault(part["index"], {})
        pieces = self._argument_pieces.setdefault((choice_index, part["index"]), [])
        for name, value in part.items():
            text_field = CONTENT_FIELDS.get(name)
            if text_field is None or not isinstance(value, dict):
                call[name] = value
                continue
            text = value.get(text_field) or ""
            self._bytes_left -= len(text)
            pieces.append(text)
            call[name] = call.get(name, {}) | value

    def build_answer(self) -> Chunk:
        """Return the whole answer, when all chunks are in it."""
        for (index, name), pieces in self._text_pieces.items():
            self._choices[index]["message"][name] = "".join(pieces)
        for index, choice in self._choices.items():
            calls = choice["message"].get("tool_calls")
            if calls is not None:
                choice["message"]["tool_calls"] = [
                    self._complete_call(index, call_index, calls[call_index])
                    for call_index in sorted(calls)
                ]
        choices = [self._choices[index] for index in sorted(self._choices)]
        return conform.conform_answer(
            self._answer_fields | {"object": "chat.completion", "choices": choices}
        )

    def _complete_call(self, choice_index: int, call_index: int, call: JsonObject) -> JsonObject:
        """Return a call with all its arguments, as a whole answer has it."""
        kind = find_kind(call)
        if kind:
            text = "".join(self._argument_pieces[choice_index, call_index])
            call[kind][CONTENT_FIELDS[kind]] = text
        return {name: value for name, value in call.items() if name != "index"}


def fold_answer(chunks: Iterable[Chunk], most_answer_bytes: int = 2**26) -> Chunk:
    """Return one whole answer made of a stream's chunks."""
    folder = AnswerFolder(most_answer_bytes)
    folder.add_chunks(chunks)
    return folder.build_answer()


def fold_text_completion(chunks: Iterable[Chunk]) -> Chunk:
    """Return one whole `text_completion` made of a stream's chunks.

    Texts are joined; of other fields the last value is kept.
    """
    answer_fields: Chunk = {}
    choices: dict[int, JsonObject] = {}
    for chunk in chunks:
        answer_fields |= {
            name: value for name, value in chunk.items() if name != "choices" and value is not None
        }
        for choice in chunk["choices"]:
            new_choice = {"text": "", "logprobs": None, "finish_reason": None}
            folded = choices.setdefault(choice["index"], new_choice)
            folded["text"] += choice.get("text") or ""
            add_logprobs(folded, choice.get("logprobs"))
            folded |= {
                name: value
                for name, value in choice.items()
                if name not in FOLDED_COMPLETION_FIELDS and value is not None
            }
    return answer_fields | {"choices": [choices[index] for index in sorted(choices)]}


def add_detail_pieces(details: list[JsonObject], pieces: list[JsonObject]) -> list[JsonObject]:
    """Return OpenRouter's `reasoning_details` with the pieces of another chunk.

    Pieces of one kind and index that follow each other are one detail: their texts are joined.
    Source: OpenRouter's documentation, "Reasoning tokens".
    """
    joined = list(details)
    for piece in pieces:
        last = joined[-1] if joined else None
        if last is not None and continues_detail(last, piece):
            joined[-1] = join_detail(last, piece)
        else:
            joined.append(piece)
    return joined


def continues_detail(last: object, piece: object) -> bool:
    """Return whether a piece of reasoning details goes on with the text of the last one."""
    if not isinstance(last, dict) or not isinstance(piece, dict):
        return False
    has_text = any(isinstance(piece.get(field), str) for field in DETAIL_TEXT_FIELDS)
    is_same = all(last.get(field) == piece.get(field) for field in ("type", "index"))
    return is_same and (has_text or "signature" in piece) and "data" not in piece


def join_detail(last: JsonObject, piece: JsonObject) -> JsonObject:
    """Return one detail of two pieces."""
    joined = last | {name: value for name, value in piece.items() if value is not None}
    for field in DETAIL_TEXT_FIELDS:
        if isinstance(last.get(field), str) and isinstance(piece.get(field), str):
            joined[field] = last[field] + piece[field]
    return joined


def add_logprobs(choice: JsonObject, logprobs: object) -> None:
    """Add the log probabilities of a chunk's choice to those of the folded choice."""
    if not isinstance(logprobs, dict):
        return
    folded = choice["logprobs"] = choice["logprobs"] or {}
    for name, value in logprobs.items():
        if isinstance(folded.get(name), list) and value:
            value = folded[name] + value
        folded[name] = value
