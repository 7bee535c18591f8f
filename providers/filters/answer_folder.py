"""Fold the chunks of a stream into one whole answer. No I/O."""

from collections.abc import Iterable

from providers.exceptions import BadResponse
from providers.filters import conform
from providers.protocol.chunks import Chunk
from providers.protocol.json_types import JsonObject

CHUNK_BYTES = 64  # size of a chunk of a whole answer, without its text
FOLDED_COMPLETION_FIELDS = frozenset(("text", "logprobs"))
FOLDED_CHOICE_FIELDS = frozenset(("index", "delta", "logprobs"))
JOINED_TEXT_FIELDS = frozenset(("content", "reasoning_content", "reasoning", "refusal"))


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
        call_index = part["index"]
        function = part.get("function") or {}
        arguments = function.get("arguments") or ""
        self._bytes_left -= len(arguments)
        if call_index not in calls:
            calls[call_index] = part | {"function": dict(function)}
        self._argument_pieces.setdefault((choice_index, call_index), []).append(arguments)

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
        call["function"]["arguments"] = "".join(self._argument_pieces[choice_index, call_index])
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


def add_logprobs(choice: JsonObject, logprobs: object) -> None:
    """Add the log probabilities of a chunk's choice to those of the folded choice."""
    if not isinstance(logprobs, dict):
        return
    folded = choice["logprobs"] = choice["logprobs"] or {}
    for name, value in logprobs.items():
        if isinstance(folded.get(name), list) and value:
            value = folded[name] + value
        folded[name] = value
