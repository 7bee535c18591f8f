"""Separate thinking from an answer's text, and show it the way callers want it. No I/O."""

from providers.filters.thinking_parser import ThinkingParser
from providers.protocol.chunks import Chunk
from providers.protocol.json_types import JsonObject
from providers.protocol.request import ThinkingHabits

PIECE_BYTES = 64  # memory that a kept piece of text takes besides its characters
# thinking fields of upstreams that separate it
THINKING_FIELDS = ("reasoning_content", "reasoning", "reasoning_details")


class ThinkingSplitter:
    """A filter for models that think in their text.

    `thinking_format` is "tagged", or "implied" if the opening tag may be missing. An implied text
    is held until it is decided: by an opening tag at its start, by the first closing tag, or by its
    end or UNDECIDED_CHARS (then all of it was the answer). A tagged text without a tag is never
    held. `tag_family` names the tags that count. An answer of a model with `habits` in which only a
    closing tag stands is noted there.
    """

    def __init__(
        self,
        thinking_format: str,
        tag_family: str = "",
        habits: ThinkingHabits | None = None,
    ) -> None:
        self._is_implied = thinking_format == "implied"
        self._tag_family = tag_family
        self._habits = habits
        self._last_text = ""  # the end of a plain answer, where a closing tag may have begun
        self._parsers: dict[int, ThinkingParser] = {}

    def filter_chunks(self, batch: list[Chunk]) -> list[Chunk]:
        return [part for chunk in batch for part in self._split_chunk(chunk)]

    def _split_chunk(self, chunk: Chunk) -> list[Chunk]:
        """Return the chunk without thinking in its text, and before it a chunk with the thinking.

        Either is left out if it would be empty.
        """
        thinking_choices: list[JsonObject] = []
        answer_choices: list[JsonObject] = []
        for choice in chunk["choices"]:
            thinking_delta, answer_choice = self._split_choice(choice)
            if thinking_delta:
                thinking_choices.append(
                    {
                        "index": choice["index"],
                        "delta": thinking_delta,
                        "logprobs": None,
                        "finish_reason": None,
                    }
                )
            if has_choice_content(answer_choice):
                answer_choices.append(answer_choice)
        parts: list[Chunk] = []
        if thinking_choices:
            head = {name: value for name, value in chunk.items() if name != "usage"}
            parts.append(head | {"choices": thinking_choices})
        if answer_choices or chunk.get("usage"):
            parts.append(chunk | {"choices": answer_choices})
        return parts

    def _split_choice(self, choice: JsonObject) -> tuple[JsonObject, JsonObject]:
        """Return a delta with the thinking of this choice, and the choice without it."""
        delta = choice.get("delta") or {}
        is_last = choice.get("finish_reason") is not None
        parser = self._parsers.get(choice["index"])
        if parser is None:
            parser = ThinkingParser(is_implied=self._is_implied, tag_family=self._tag_family)
            self._parsers[choice["index"]] = parser
        if any(delta.get(field) for field in THINKING_FIELDS):
            parser.record_separate_thinking()
        text = read_text_field(delta, "content")
        if not text and not is_last:
            return {}, choice
        thinking, content = parser.feed(text, is_last=is_last)
        if self._habits is not None and content:
            self._look_for_closing_tag(parser, content, self._habits)
        answer_delta = {
            name: value
            for name, value in delta.items()
            if name != "content" or (value and not text)
        }
        thinking_delta = {}
        if thinking:
            thinking_delta = self._move_thinking(answer_delta, thinking)
        elif "role" in answer_delta:
            answer_delta = {"content": None} | answer_delta
        if content:
            answer_delta["content"] = content
        return thinking_delta, choice | {"delta": answer_delta}

    def _look_for_closing_tag(
        self, parser: ThinkingParser, content: str, habits: ThinkingHabits
    ) -> None:
        """Note in `habits` if a closing tag stands in an answer without an opening tag.

        The answer itself has gone out by then.
        """
        if habits.omits_opening_tag or not parser.is_plain_answer:
            return
        text = self._last_text + content
        habits.omits_opening_tag = parser.implied_closing.find(text, 0) is not None
        self._last_text = text[-parser.implied_closing.longest_chars :]

    def _move_thinking(self, delta: JsonObject, thinking: str) -> JsonObject:
        """Return a delta with the thinking, and with the role and the thinking of `delta`."""
        thinking = read_text_field(delta, "reasoning_content") + thinking
        delta.pop("reasoning_content", None)
        if "role" not in delta:
            return {"reasoning_content": thinking}
        return {"role": delta.pop("role"), "content": None, "reasoning_content": thinking}


def read_text_field(delta: JsonObject, field: str) -> str:
    """Return the text of a field, empty if it has none."""
    text = delta.get(field)
    return text if isinstance(text, str) else ""


def has_choice_content(choice: JsonObject) -> bool:
    """Return whether a streamed choice says anything."""
    return bool(choice.get("delta") or choice.get("finish_reason") or choice.get("logprobs"))


class ThinkingRenderer:
    """A filter that shows thinking the way callers want it, whoever separated it.

    `thinking` is "inline" (in the text, between `<think>` and `</think>` and a blank line),
    "hidden" (not shown) or "reasoning" (in its own field, as it comes). Hidden thinking is added to
    `hidden_thoughts`.
    """

    def __init__(
        self,
        thinking: str,
        hidden_thoughts: list[str] | None = None,
        most_hidden_bytes: int = 2**22,
    ) -> None:
        self._thinking = thinking
        self._bytes_left = most_hidden_bytes  # how much more hidden thinking may be kept
        self._hidden_thoughts = [] if hidden_thoughts is None else hidden_thoughts
        self._open_choices: set[int] = set()

    def filter_chunks(self, batch: list[Chunk]) -> list[Chunk]:
        if self._thinking == "reasoning":
            return batch
        rendered = map(self._render_chunk, batch)
        return [chunk for chunk in rendered if chunk is not None]

    def _render_chunk(self, chunk: Chunk) -> Chunk | None:
        """Return the chunk with its thinking rendered, or None if nothing is left of it."""
        rendered = map(self._render_choice, chunk["choices"])
        choices = [choice for choice in rendered if has_choice_content(choice)]
        if not choices and not chunk.get("usage"):
            return None
        return chunk | {"choices": choices}

    def _render_choice(self, choice: JsonObject) -> JsonObject:
        delta = choice.get("delta") or {}
        shown_delta = {name: value for name, value in delta.items() if name not in THINKING_FIELDS}
        thought = read_text_field(delta, "reasoning_content") or read_text_field(delta, "reasoning")
        if self._thinking == "inline":
            text = self._render_inline_text(choice, shown_delta, thought)
            if text:
                shown_delta["content"] = text
        elif thought:
            self._record_hidden_thought(thought)
        return choice | {"delta": shown_delta}

    def _record_hidden_thought(self, thought: str) -> None:
        """Keep the thought for counting; only the beginning of very long thinking is kept."""
        self._bytes_left -= len(thought) + PIECE_BYTES
        if self._bytes_left >= 0:
            self._hidden_thoughts.append(thought)

    def _render_inline_text(self, choice: JsonObject, delta: JsonObject, thought: str) -> str:
        """Return the text of the delta with the thinking in it."""
        index = choice["index"]
        content = read_text_field(delta, "content")
        text = thought
        if thought and index not in self._open_choices:
            self._open_choices.add(index)
            text = "<think>" + thought
        if index in self._open_choices and (
            content or delta.get("tool_calls") or choice.get("finish_reason") is not None
        ):
            self._open_choices.discard(index)
            text += "</think>"
            if content:
                text += "\n\n"
        return text + content
