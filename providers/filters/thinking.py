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
    begun,
    closing,
    may_become,
    past_space,
    past_summary,
    thinking_tag,
)

# a text without an opening tag that gets so long without a closing one counts as thinking
IMPLIED_CHARS = 16_384
AFTER_CHARS = 4_096  # most characters after an </answer> that counts as the last one
PIECE_BYTES = 64  # memory that a kept piece of text takes besides its characters
SHOWN = (
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
        self._implied = thinks == "implied"
        self._splits: dict[int, Split] = {}

    def chunks(self, batch: list[Chunk]) -> list[Chunk]:
        return [out for chunk in batch for out in self._chunk(chunk)]

    def _chunk(self, chunk: Chunk) -> list[Chunk]:
        """Return the chunk without thinking in its text, and before it a chunk with the thinking.

        Either is left out if it would be empty.
        """
        thoughts: list[dict[str, Any]] = []
        rest: list[dict[str, Any]] = []
        for choice in chunk["choices"]:
            thought, left = self._choice(choice)
            if thought:
                thoughts.append(
                    {
                        "index": choice["index"],
                        "delta": thought,
                        "logprobs": None,
                        "finish_reason": None,
                    }
                )
            if says_something(left):
                rest.append(left)
        out = [chunk | {"choices": rest}] if rest or chunk.get("usage") else []
        if thoughts:
            out.insert(
                0,
                {name: value for name, value in chunk.items() if name != "usage"}
                | {"choices": thoughts},
            )
        return out

    def _choice(self, choice: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return a delta with the thinking of this choice, and the choice without it."""
        delta = choice.get("delta") or {}
        last = choice.get("finish_reason") is not None
        split = self._splits.get(choice["index"])
        if split is None:
            split = self._splits[choice["index"]] = Split(implied=self._implied)
        if any(delta.get(field) for field in SHOWN):
            split.separated()
        text = text_of(delta, "content")
        if not text and not last:
            return {}, choice
        reasoning, content = split.feed(text, last=last)
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
        thought = {"reasoning_content": text_of(rest, "reasoning_content") + reasoning}
        rest.pop("reasoning_content", None)
        if "role" in rest:
            thought = {"role": rest.pop("role"), "content": None} | thought
        return thought, choice | {"delta": rest | ({"content": content} if content else {})}


def text_of(delta: dict[str, Any], field: str) -> str:
    text = delta.get(field)
    return text if isinstance(text, str) else ""


def says_something(choice: dict[str, Any]) -> bool:
    return bool(choice.get("delta") or choice.get("finish_reason") or choice.get("logprobs"))


class Split:
    """One text, fed in pieces and divided into thinking and answer.

    It takes time linear in the length of the text.
    """

    __slots__ = (
        "_answer",
        "_at",
        "_close",
        "_implied",
        "_reasoning",
        "_seen",
        "_state",
        "_text",
        "_wrapped",
    )

    def __init__(self, *, implied: bool) -> None:
        self._implied = implied
        self._text = ""
        self._at = 0  # position of the current feed in the held text
        self._seen = 0  # position up to which the held text was searched
        self._close = ""  # the closing tag of the thinking; empty before any thinking
        self._wrapped = False  # the answer stands in <answer> tags
        self._reasoning, self._answer = Part(), Part()
        self._state: Callable[[Split, bool], bool] = Split._opening

    def separated(self) -> None:
        """Note that thinking came in its own field: only an opening tag can make text thinking."""
        self._implied = False
        self._close = self._close or END_THINK

    def feed(self, piece: str, *, last: bool = False) -> tuple[str, str]:
        """Return the thinking and the answer that are certain by now; with `last` all of it."""
        self._text += piece
        while self._state(self, last):
            pass
        self._text = self._text[self._at :]
        self._at = 0
        return self._reasoning.taken(), self._answer.taken()

    # --- the states: they return whether another state can continue, or the next piece is needed
    def _opening(self, last: bool) -> bool:
        """Find the tag that stands before the answer, or before the kind of text is known."""
        start = past_space(self._text, self._at)
        end = NO_TAG if start == NO_TAG else self._tag(start)
        if end == WAIT and not last:
            return False
        if end < 0:
            return self._untagged()
        tag = self._text[start:end]
        self._at = end
        if tag == ANSWER:
            self._wrapped = True
            self._begin_answer()
        elif tag != END_THINK:
            self._begin_thinking(closing(tag))
            self._state = Split._summary if tag.startswith(DETAILS) else Split._thinking
        return True

    def _untagged(self) -> bool:
        if self._implied and not self._close:
            self._state = Split._undecided
            self._seen = self._at
        else:
            self._begin_answer()
        return True

    def _undecided(self, last: bool) -> bool:
        if (
            self._text.find(END_THINK, self._seen) >= 0
            or len(self._text) - self._at > IMPLIED_CHARS
        ):
            self._begin_thinking(END_THINK)
        elif last or not self._implied:
            self._begin_answer()
        self._seen = max(len(self._text) - len(END_THINK) + 1, 0)
        return self._state is not Split._undecided

    def _summary(self, last: bool) -> bool:
        """Skip the heading of a block of details, if it has one."""
        end = past_summary(self._text, self._at)
        if end == WAIT and not last:
            return False
        self._at = max(end, self._at)
        self._state = Split._thinking
        return True

    def _thinking(self, last: bool) -> bool:
        if not self._pass_until(self._close, self._reasoning, last):
            return False
        self._at += len(self._close)
        self._state = Split._opening
        return True

    def _answering(self, last: bool) -> bool:
        """Pass on the answer up to its closing tag.

        Only an answer after thinking or after <answer> can have a closing tag of its own.
        """
        if not self._close and not self._wrapped:
            self._answer.add(self._text[self._at :])
            self._at = len(self._text)
        elif self._pass_until(END_ANSWER, self._answer, last):
            self._state = Split._after
            return True
        return False

    def _after(self, last: bool) -> bool:
        """Decide whether an </answer> is the last one.

        One without its <answer> must stand at the very end.
        """
        start = self._at + len(END_ANSWER)
        again = self._text.find(END_ANSWER, start, start + AFTER_CHARS)
        tail = self._text[start : start + AFTER_CHARS + 1] if again < 0 else ""
        if again < 0 and len(tail) <= AFTER_CHARS and (self._wrapped or not tail.strip()):
            if last:
                self._answer.add(tail if tail.strip() else "")
                self._at = len(self._text)
            return False
        self._answer.add(END_ANSWER)
        self._at = start
        self._state = Split._answering
        return True

    # --- helpers of the states --------------------------------------------------------------------
    def _begin_thinking(self, close: str) -> None:
        if self._close:
            self._reasoning.add("\n\n")
        self._close = close
        self._reasoning.strips = True
        self._state = Split._thinking

    def _begin_answer(self) -> None:
        self._answer.strips = bool(self._close or self._wrapped)
        self._state = Split._answering

    def _pass_until(self, tag: str, part: "Part", last: bool) -> bool:
        """Pass the text before `tag` to `part`, and return whether the tag was found.

        If it was not found, a beginning of the tag at the end of the text is held back.
        """
        found = self._text.find(tag, self._at)
        end = found if found >= 0 else len(self._text)
        if found < 0 and not last:
            end -= begun(tag, self._text, self._at)
        part.add(self._text[self._at : end])
        self._at = end
        return found >= 0

    def _tag(self, at: int) -> int:
        """Return the end of the tag at `at` that may stand before an answer; NO_TAG or WAIT."""
        for tag in (ANSWER, END_THINK) if self._close else (ANSWER,):
            if may_become(tag, self._text, at):
                return at + len(tag) if self._text.startswith(tag, at) else WAIT
        return thinking_tag(self._text, at)


class Part:
    """The certain text of thinking or answer; `strips`: remove line ends at its beginning."""

    __slots__ = ("_pieces", "strips")

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self.strips = False

    def add(self, text: str) -> None:
        if self.strips:
            text = text.lstrip("\r\n")
            self.strips = not text
        if text:
            self._pieces.append(text)

    def taken(self) -> str:
        taken = "".join(self._pieces)
        self._pieces = []
        return taken


class ThinkingShown:
    """A filter that shows thinking the way callers want it, whoever separated it.

    `thinking` is "inline" (in the text, between `<think>` and `</think>` and a blank line),
    "hidden" (not shown) or "reasoning" (in its own field, as it comes). Hidden thinking is added to
    `unshown`.
    """

    def __init__(
        self, thinking: str, unshown: list[str] | None = None, kept_bytes: int = 2**22
    ) -> None:
        self._thinking = thinking
        self._bytes_left = kept_bytes  # how much more hidden thinking may be kept
        self._unshown = [] if unshown is None else unshown
        self._open: set[int] = set()

    def chunks(self, batch: list[Chunk]) -> list[Chunk]:
        if self._thinking == "reasoning":
            return batch
        return [out for chunk in batch if (out := self._chunk(chunk)) is not None]

    def _chunk(self, chunk: Chunk) -> Chunk | None:
        choices = [self._choice(choice) for choice in chunk["choices"]]
        kept = [choice for choice in choices if says_something(choice)]
        return chunk | {"choices": kept} if kept or chunk.get("usage") else None

    def _choice(self, choice: dict[str, Any]) -> dict[str, Any]:
        delta = choice.get("delta") or {}
        rest = {name: value for name, value in delta.items() if name not in SHOWN}
        thought = text_of(delta, "reasoning_content") or text_of(delta, "reasoning")
        if self._thinking == "hidden" and thought:
            self._hide(thought)
        if self._thinking == "inline":
            ends = bool(rest.get("tool_calls")) or choice.get("finish_reason") is not None
            if text := self._inline(choice["index"], thought, text_of(rest, "content"), ends):
                rest["content"] = text
        return choice | {"delta": rest}

    def _hide(self, thought: str) -> None:
        """Keep the thought for counting; only the beginning of very long thinking is kept."""
        self._bytes_left -= len(thought) + PIECE_BYTES
        if self._bytes_left >= 0:
            self._unshown.append(thought)

    def _inline(self, index: int, thought: str, content: str, ends: bool) -> str:
        """Return the text with the thinking in it; `ends`: no more thinking comes."""
        text = thought
        if thought and index not in self._open:
            self._open.add(index)
            text = "<think>" + thought
        if index in self._open and (content or ends):
            self._open.discard(index)
            text += "</think>\n\n" if content else "</think>"
        return text + content
