"""The events of one part of an answer: its item is opened, sent piece by piece, and closed.

`PartEvents` keeps its position in the pieces of a part that still grows
(conversations/messages/answer_builder.py). Its events lack only the sequence number. Source:
OpenAI's API reference, "Streaming events".
"""

from collections.abc import Iterator
from typing import Any

import orjson

from api.responses.encrypted_reasoning import seal
from api.responses.output_items import shown_annotations, shown_item, shown_logprobs
from conversations.messages.answer_builder import Part

Event = dict[str, Any]


class PartEvents:
    """The base of all kinds of parts; `output_index` is the part's place in the answer."""

    def __init__(
        self, part: Part, output_index: int, *, as_summary: bool = False, sealed: bool = False
    ) -> None:
        self.part = part
        self._as_summary = as_summary
        self._sealed = sealed
        self._where: Event = {"item_id": part.id, "output_index": output_index}
        self._told = 0  # number of pieces that were sent
        self._begun = False

    @property
    def ready(self) -> bool:
        """Return whether enough has come to open the item."""
        return True

    @property
    def complete(self) -> bool:
        """Return whether nothing can follow, now that another part has begun."""
        return True

    def news(self) -> Iterator[Event]:
        """Yield the events for everything that came since the last call."""
        if not self._begun and self.ready:
            yield from self.open()
        if self._begun:
            yield from self.grow()

    def close(self, status: str) -> Iterator[Event]:
        """Yield the rest, and the end of the item; `status` is completed or incomplete."""
        if not self._begun:
            yield from self.open()
        yield from self.grow()
        yield from self.finish()
        yield self._of_item("done", self.item(status))

    def item(self, status: str) -> Event:
        """Return the item in its present state, as it will be stored."""
        entry = self.part.entry(whole=status == "completed")
        return shown_item(
            {"id": self.part.id, **entry.data, "status": status}, as_summary=self._as_summary
        )

    def open(self) -> Iterator[Event]:
        self._begun = True
        yield self._of_item("added", self.beginning())

    def _of_item(self, what: str, item: Event) -> Event:
        return {
            "type": f"response.output_item.{what}",
            "output_index": self._where["output_index"],
            "item": item,
        }

    def _fresh(self, pieces: list[str]) -> str:
        """Return the text of the pieces that were not sent yet, and count them as sent."""
        if self._told == len(pieces):
            return ""
        fresh = "".join(pieces[self._told :])
        self._told = len(pieces)
        return fresh

    # --- for each kind of part --------------------------------------------------------------------
    def beginning(self) -> Event:
        """Return the item before it has any content."""
        raise NotImplementedError

    def grow(self) -> Iterator[Event]:
        raise NotImplementedError

    def finish(self) -> Iterator[Event]:
        raise NotImplementedError


class ThinkingEvents(PartEvents):
    """Thinking, as the content of a reasoning item or as its summary."""

    def __init__(
        self, part: Part, output_index: int, *, as_summary: bool = False, sealed: bool = False
    ) -> None:
        super().__init__(part, output_index, as_summary=as_summary, sealed=sealed)
        self._where |= {"summary_index" if as_summary else "content_index": 0}
        self._part = "response.reasoning_summary_part" if as_summary else "response.content_part"
        self._text = "response.reasoning_summary_text" if as_summary else "response.reasoning_text"

    def _shown(self, text: str) -> Event:
        return {"type": "summary_text" if self._as_summary else "reasoning_text", "text": text}

    def item(self, status: str) -> Event:
        shown = super().item(status)
        return (
            {**shown, "encrypted_content": seal("".join(self.part.text))} if self._sealed else shown
        )

    def beginning(self) -> Event:
        content: Event = {} if self._as_summary else {"content": []}
        return {
            "id": self.part.id,
            "type": "reasoning",
            "summary": [],
            **content,
            "status": "in_progress",
        }

    def open(self) -> Iterator[Event]:
        yield from super().open()
        yield {"type": f"{self._part}.added", **self._where, "part": self._shown("")}

    def grow(self) -> Iterator[Event]:
        if fresh := self._fresh(self.part.text):
            yield {"type": f"{self._text}.delta", **self._where, "delta": fresh}

    def finish(self) -> Iterator[Event]:
        text = "".join(self.part.text)
        yield {"type": f"{self._text}.done", **self._where, "text": text}
        yield {"type": f"{self._part}.done", **self._where, "part": self._shown(text)}


class MessageEvents(PartEvents):
    """Text or a refusal, sent as it comes.

    When a message has both, the later one is sent at its end.
    """

    def __init__(
        self, part: Part, output_index: int, *, as_summary: bool = False, sealed: bool = False
    ) -> None:
        super().__init__(part, output_index, as_summary=as_summary, sealed=sealed)
        self._kinds: list[str] = []  # kinds of the content parts that have begun
        self._cited = self._weighed = 0  # annotations and log probabilities sent

    def beginning(self) -> Event:
        return {
            "id": self.part.id,
            "type": "message",
            "role": "assistant",
            "content": [],
            "status": "in_progress",
        }

    def item(self, status: str) -> Event:
        shown = super().item(status)
        if self._kinds[:1] == ["refusal"]:
            shown["content"].sort(key=lambda part: part["type"] != "refusal")
        return shown

    def grow(self) -> Iterator[Event]:
        part = self.part
        if not self._kinds:
            if not (part.text or part.refusal):
                return
            yield self._begin("refusal" if part.refusal and not part.text else "output_text")
        yield from self._tell()

    def finish(self) -> Iterator[Event]:
        if not self._kinds:
            yield self._begin("output_text")
            yield from self._tell()
        yield from self._end()
        first = self._kinds[0]
        pieces = {"output_text": self.part.text, "refusal": self.part.refusal}
        other = "refusal" if first == "output_text" else "output_text"
        if pieces[other]:
            yield self._begin(other)
            yield from self._tell()
            yield from self._end()

    def _begin(self, kind: str) -> Event:
        self._told, self._where["content_index"] = 0, len(self._kinds)
        self._kinds.append(kind)
        empty = (
            {"text": "", "annotations": [], "logprobs": []}
            if kind == "output_text"
            else {"refusal": ""}
        )
        return {
            "type": "response.content_part.added",
            **self._where,
            "part": {"type": kind, **empty},
        }

    def _tell(self) -> Iterator[Event]:
        part = self.part
        if self._kinds[-1] == "refusal":
            if fresh := self._fresh(part.refusal):
                yield {"type": "response.refusal.delta", **self._where, "delta": fresh}
            return
        if fresh := self._fresh(part.text):
            weighed = part.logprobs[self._weighed :]
            self._weighed = len(part.logprobs)
            shown = shown_logprobs(weighed) if weighed else []
            yield {
                "type": "response.output_text.delta",
                **self._where,
                "delta": fresh,
                "logprobs": shown,
            }
        if part.annotations:
            cited = shown_annotations(part.annotations)
            for index in range(self._cited, len(cited)):
                what = "response.output_text.annotation.added"
                yield {
                    "type": what,
                    **self._where,
                    "annotation_index": index,
                    "annotation": cited[index],
                }
            self._cited = len(cited)

    def _end(self) -> Iterator[Event]:
        kind = self._kinds[-1]
        [shown] = [part for part in super().item("completed")["content"] if part["type"] == kind]
        rest = {name: shown[name] for name in ("text", "logprobs", "refusal") if name in shown}
        yield {"type": f"response.{kind}.done", **self._where, **rest}
        yield {"type": "response.content_part.done", **self._where, "part": shown}


class CallEvents(PartEvents):
    """A function call."""

    _looked = -1  # number of argument pieces at the last check of `complete`
    _whole = False

    @property
    def ready(self) -> bool:
        """Return whether name and arguments have begun: no piece of a name follows arguments."""
        return bool(self.part.name and self.part.arguments)

    @property
    def complete(self) -> bool:
        """Return whether the arguments are complete JSON, which cannot grow.

        Upstreams may continue an earlier call after a later one has begun.
        """
        if self._looked != len(self.part.arguments):
            self._looked = len(self.part.arguments)
            try:
                orjson.loads("".join(self.part.arguments))
                self._whole = True
            except orjson.JSONDecodeError:
                self._whole = False
        return self._whole and bool(self.part.name)

    def beginning(self) -> Event:
        call = {"call_id": self.part.call_id, "name": self.part.name, "arguments": ""}
        return {"id": self.part.id, "type": "function_call", **call, "status": "in_progress"}

    def grow(self) -> Iterator[Event]:
        if fresh := self._fresh(self.part.arguments):
            yield {"type": "response.function_call_arguments.delta", **self._where, "delta": fresh}

    def finish(self) -> Iterator[Event]:
        said = {"name": self.part.name, "arguments": "".join(self.part.arguments)}
        yield {"type": "response.function_call_arguments.done", **self._where, **said}


KINDS: dict[str, type[PartEvents]] = {
    "reasoning": ThinkingEvents,
    "message": MessageEvents,
    "function_call": CallEvents,
}
