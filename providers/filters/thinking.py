"""Separate thinking from an answer's text, and show it the way callers want it. No I/O.

Only blocks that open an answer count as thinking: `<think …>…</think>` or `<details
type="reasoning" …>…</details>` (its `<summary>` is dropped), several in a row, then perhaps
`<answer>…</answer>` around the rest. Such tags later in the answer stay as they are, and so does
text that only looked like a tag. The joined results do not depend on how a text is cut into pieces.

White space before an opening tag is removed, and so are line ends at the beginning of the thinking
and of the answer that follows it; all other white space stays. Source of the forms: published
clients of K2-Think's site and of other Open WebUI sites, K2-Think's chat template.
"""

from collections.abc import Callable
from typing import Any

from providers.protocol.chunks import Chunk
from providers.wire.tags import (
    ANSWER,
    DETAILS,
    END_ANSWER,
    END_THINK,
    NO_TAG,
    WAIT,
    choose_closing_tag,
    find_thinking_tag_end,
    may_become_tag,
    partial_tag_chars,
    skip_space,
    skip_summary,
)

# a text without an opening tag that gets so long without a closing one counts as thinking
IMPLIED_CHARS = 16_384
AFTER_ANSWER_CHARS = 4_096  # most characters after an </answer> that counts as the last one
PIECE_BYTES = 64  # memory that a kept piece of text takes besides its characters
THINKING_FIELDS = (
    "reasoning_content",
    "reasoning",
    "reasoning_details",
)  # thinking fields of upstreams that separate it


class ThinkingSplitter:
    """A filter for models that think in their text.

    `thinks` is "tagged", or "implied" if the opening tag may be missing. An implied text is held
    until it is decided: by an opening tag at its start, by the first closing tag, by its end (then
    all of it was the answer) or by IMPLIED_CHARS (then it is thinking). A tagged text without a tag
    is never held.
    """

    def __init__(self, thinks: str) -> None:
        self._is_implied = thinks == "implied"
        self._parsers: dict[int, ThinkingParser] = {}

    def filter_chunks(self, batch: list[Chunk]) -> list[Chunk]:
        return [out for chunk in batch for out in self._split_chunk(chunk)]

    def _split_chunk(self, chunk: Chunk) -> list[Chunk]:
        """Return the chunk without thinking in its text, and before it a chunk with the thinking.

        Either is left out if it would be empty.
        """
        thoughts: list[dict[str, Any]] = []
        rest: list[dict[str, Any]] = []
        for choice in chunk["choices"]:
            thought, left = self._split_choice(choice)
            if thought:
                thoughts.append(
                    {
                        "index": choice["index"],
                        "delta": thought,
                        "logprobs": None,
                        "finish_reason": None,
                    }
                )
            if has_choice_content(left):
                rest.append(left)
        out = [chunk | {"choices": rest}] if rest or chunk.get("usage") else []
        if thoughts:
            out.insert(
                0,
                {name: value for name, value in chunk.items() if name != "usage"}
                | {"choices": thoughts},
            )
        return out

    def _split_choice(self, choice: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return a delta with the thinking of this choice, and the choice without it."""
        delta = choice.get("delta") or {}
        last = choice.get("finish_reason") is not None
        split = self._parsers.get(choice["index"])
        if split is None:
            split = self._parsers[choice["index"]] = ThinkingParser(is_implied=self._is_implied)
        if any(delta.get(field) for field in THINKING_FIELDS):
            split.record_separate_thinking()
        text = read_text_field(delta, "content")
        if not text and not last:
            return {}, choice
        reasoning, content = split.feed(text, is_last=last)
        rest = {
            name: value
            for name, value in delta.items()
            if name != "content" or (value and not text)
        }
        if not reasoning:
            nothing = {"content": None} if "role" in rest else {}
            return {}, choice | {
                "delta": nothing | rest | ({"content": content} if content else {})
            }
        thought = {"reasoning_content": read_text_field(rest, "reasoning_content") + reasoning}
        rest.pop("reasoning_content", None)
        if "role" in rest:
            thought = {"role": rest.pop("role"), "content": None} | thought
        return thought, choice | {"delta": rest | ({"content": content} if content else {})}


def read_text_field(delta: dict[str, Any], field: str) -> str:
    text = delta.get(field)
    return text if isinstance(text, str) else ""


def has_choice_content(choice: dict[str, Any]) -> bool:
    return bool(choice.get("delta") or choice.get("finish_reason") or choice.get("logprobs"))


class ThinkingParser:
    """One text, fed in pieces and divided into thinking and answer.

    It takes time linear in the length of the text.
    """

    __slots__ = (
        "_answer",
        "_closing_tag",
        "_held_text",
        "_is_implied",
        "_is_wrapped",
        "_position",
        "_reasoning",
        "_searched_until",
        "_state",
    )

    def __init__(self, *, is_implied: bool) -> None:
        self._is_implied = is_implied
        self._held_text = ""
        self._position = 0  # position of the current feed in the held text
        self._searched_until = 0  # position up to which the held text was searched
        self._closing_tag = ""  # the closing tag of the thinking; empty before any thinking
        self._is_wrapped = False  # the answer stands in <answer> tags
        self._reasoning, self._answer = TextBuffer(), TextBuffer()
        self._state: Callable[[ThinkingParser, bool], bool] = ThinkingParser._find_opening_tag

    def record_separate_thinking(self) -> None:
        """Note that thinking came in its own field: only an opening tag can make text thinking."""
        self._is_implied = False
        self._closing_tag = self._closing_tag or END_THINK

    def feed(self, piece: str, *, is_last: bool = False) -> tuple[str, str]:
        """Return the thinking and the answer that are certain by now; with `is_last` all of it."""
        self._held_text += piece
        while self._state(self, is_last):
            pass
        self._held_text = self._held_text[self._position :]
        self._position = 0
        return self._reasoning.take_text(), self._answer.take_text()

    # --- the states: they return whether another state can continue, or the next piece is needed
    def _find_opening_tag(self, is_last: bool) -> bool:
        """Find the tag that stands before the answer, or before the kind of text is known."""
        start = skip_space(self._held_text, self._position)
        end = NO_TAG if start == NO_TAG else self._find_tag_end(start)
        if end == WAIT and not is_last:
            return False
        if end < 0:
            return self._handle_untagged_text()
        tag = self._held_text[start:end]
        self._position = end
        if tag == ANSWER:
            self._is_wrapped = True
            self._begin_answer()
        elif tag != END_THINK:
            self._begin_thinking(choose_closing_tag(tag))
            self._state = (
                ThinkingParser._skip_summary
                if tag.startswith(DETAILS)
                else ThinkingParser._pass_thinking
            )
        return True

    def _handle_untagged_text(self) -> bool:
        if self._is_implied and not self._closing_tag:
            self._state = ThinkingParser._decide_untagged_text
            self._searched_until = self._position
        else:
            self._begin_answer()
        return True

    def _decide_untagged_text(self, is_last: bool) -> bool:
        if (
            self._held_text.find(END_THINK, self._searched_until) >= 0
            or len(self._held_text) - self._position > IMPLIED_CHARS
        ):
            self._begin_thinking(END_THINK)
        elif is_last or not self._is_implied:
            self._begin_answer()
        self._searched_until = max(len(self._held_text) - len(END_THINK) + 1, 0)
        return self._state is not ThinkingParser._decide_untagged_text

    def _skip_summary(self, is_last: bool) -> bool:
        """Skip the heading of a block of details, if it has one."""
        end = skip_summary(self._held_text, self._position)
        if end == WAIT and not is_last:
            return False
        self._position = max(end, self._position)
        self._state = ThinkingParser._pass_thinking
        return True

    def _pass_thinking(self, is_last: bool) -> bool:
        if not self._pass_until_tag(self._closing_tag, self._reasoning, is_last):
            return False
        self._position += len(self._closing_tag)
        self._state = ThinkingParser._find_opening_tag
        return True

    def _pass_answer(self, is_last: bool) -> bool:
        """Pass on the answer up to its closing tag.

        Only an answer after thinking or after <answer> can have a closing tag of its own.
        """
        if not self._closing_tag and not self._is_wrapped:
            self._answer.add_text(self._held_text[self._position :])
            self._position = len(self._held_text)
        elif self._pass_until_tag(END_ANSWER, self._answer, is_last):
            self._state = ThinkingParser._judge_closing_tag
            return True
        return False

    def _judge_closing_tag(self, is_last: bool) -> bool:
        """Decide whether an </answer> is the last one.

        One without its <answer> must stand at the very end.
        """
        start = self._position + len(END_ANSWER)
        again = self._held_text.find(END_ANSWER, start, start + AFTER_ANSWER_CHARS)
        tail = self._held_text[start : start + AFTER_ANSWER_CHARS + 1] if again < 0 else ""
        if again < 0 and len(tail) <= AFTER_ANSWER_CHARS and (self._is_wrapped or not tail.strip()):
            if is_last:
                self._answer.add_text(tail if tail.strip() else "")
                self._position = len(self._held_text)
            return False
        self._answer.add_text(END_ANSWER)
        self._position = start
        self._state = ThinkingParser._pass_answer
        return True

    # --- helpers of the states --------------------------------------------------------------------
    def _begin_thinking(self, closing_tag: str) -> None:
        if self._closing_tag:
            self._reasoning.add_text("\n\n")
        self._closing_tag = closing_tag
        self._reasoning.strips_line_ends = True
        self._state = ThinkingParser._pass_thinking

    def _begin_answer(self) -> None:
        self._answer.strips_line_ends = bool(self._closing_tag or self._is_wrapped)
        self._state = ThinkingParser._pass_answer

    def _pass_until_tag(self, tag: str, part: "TextBuffer", is_last: bool) -> bool:
        """Pass the text before `tag` to `part`, and return whether the tag was found.

        If it was not found, a beginning of the tag at the end of the text is held back.
        """
        found = self._held_text.find(tag, self._position)
        end = found if found >= 0 else len(self._held_text)
        if found < 0 and not is_last:
            end -= partial_tag_chars(tag, self._held_text, self._position)
        part.add_text(self._held_text[self._position : end])
        self._position = end
        return found >= 0

    def _find_tag_end(self, position: int) -> int:
        """Return the end of the tag at `position` before an answer, or NO_TAG or WAIT."""
        for tag in (ANSWER, END_THINK) if self._closing_tag else (ANSWER,):
            if may_become_tag(tag, self._held_text, position):
                return position + len(tag) if self._held_text.startswith(tag, position) else WAIT
        return find_thinking_tag_end(self._held_text, position)


class TextBuffer:
    """The certain text of thinking or answer, at its start perhaps without line ends."""

    __slots__ = ("_pieces", "strips_line_ends")

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self.strips_line_ends = False

    def add_text(self, text: str) -> None:
        if self.strips_line_ends:
            text = text.lstrip("\r\n")
            self.strips_line_ends = not text
        if text:
            self._pieces.append(text)

    def take_text(self) -> str:
        taken = "".join(self._pieces)
        self._pieces = []
        return taken


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
        return [out for chunk in batch if (out := self._render_chunk(chunk)) is not None]

    def _render_chunk(self, chunk: Chunk) -> Chunk | None:
        choices = [self._render_choice(choice) for choice in chunk["choices"]]
        kept = [choice for choice in choices if has_choice_content(choice)]
        return chunk | {"choices": kept} if kept or chunk.get("usage") else None

    def _render_choice(self, choice: dict[str, Any]) -> dict[str, Any]:
        delta = choice.get("delta") or {}
        rest = {name: value for name, value in delta.items() if name not in THINKING_FIELDS}
        thought = read_text_field(delta, "reasoning_content") or read_text_field(delta, "reasoning")
        if self._thinking == "hidden" and thought:
            self._record_hidden_thought(thought)
        if self._thinking == "inline":
            ends = bool(rest.get("tool_calls")) or choice.get("finish_reason") is not None
            if text := self._render_inline_text(
                choice["index"], thought, read_text_field(rest, "content"), ends
            ):
                rest["content"] = text
        return choice | {"delta": rest}

    def _record_hidden_thought(self, thought: str) -> None:
        """Keep the thought for counting; only the beginning of very long thinking is kept."""
        self._bytes_left -= len(thought) + PIECE_BYTES
        if self._bytes_left >= 0:
            self._hidden_thoughts.append(thought)

    def _render_inline_text(
        self, index: int, thought: str, content: str, has_thinking_ended: bool
    ) -> str:
        """Return the text with the thinking in it; `has_thinking_ended`: no more thinking comes."""
        text = thought
        if thought and index not in self._open_choices:
            self._open_choices.add(index)
            text = "<think>" + thought
        if index in self._open_choices and (content or has_thinking_ended):
            self._open_choices.discard(index)
            text += "</think>\n\n" if content else "</think>"
        return text + content
