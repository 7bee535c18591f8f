"""The events of one part of an answer: its item is opened, sent piece by piece, and closed.

`PartEvents` keeps its position in the pieces of a part that still grows
(conversations/messages/answer_builder.py). Its events lack only the sequence number. Source:
OpenAI's API reference, "Streaming events".
"""

from collections.abc import Iterator
from typing import Any

import orjson

from api.responses.output.output_items import (
    render_annotations,
    render_logprobs,
    render_output_item,
)
from api.responses.request.encrypted_reasoning import encode_reasoning
from conversations.messages.answer_builder import AnswerPart

Event = dict[str, Any]


class PartEvents:
    """The base of all kinds of parts; `output_index` is the part's place in the answer."""

    def __init__(
        self,
        part: AnswerPart,
        output_index: int,
        *,
        as_summary: bool = False,
        wants_encrypted_content: bool = False,
    ) -> None:
        self.part = part
        self._as_summary = as_summary
        self._wants_encrypted_content = wants_encrypted_content
        self._position_fields: Event = {"item_id": part.id, "output_index": output_index}
        self._sent_piece_count = 0  # number of pieces that were sent
        self._is_open = False

    @property
    def can_open(self) -> bool:
        """Return whether enough has come to open the item."""
        return True

    @property
    def is_complete(self) -> bool:
        """Return whether nothing can follow, now that another part has begun."""
        return True

    def make_new_events(self) -> Iterator[Event]:
        """Yield the events for everything that came since the last call."""
        if not self._is_open and self.can_open:
            yield from self.open_item()
        if self._is_open:
            yield from self.make_delta_events()

    def close_item(self, status: str) -> Iterator[Event]:
        """Yield the rest, and the end of the item; `status` is completed or incomplete."""
        if not self._is_open:
            yield from self.open_item()
        yield from self.make_delta_events()
        yield from self.make_done_events()
        yield self._build_item_event("done", self.build_item(status))

    def build_item(self, status: str) -> Event:
        """Return the item in its present state, as it will be stored."""
        entry = self.part.make_entry(is_whole=status == "completed")
        return render_output_item(
            {"id": self.part.id, **entry.data, "status": status}, as_summary=self._as_summary
        )

    def open_item(self) -> Iterator[Event]:
        self._is_open = True
        yield self._build_item_event("added", self.build_empty_item())

    def _build_item_event(self, action: str, item: Event) -> Event:
        return {
            "type": f"response.output_item.{action}",
            "output_index": self._position_fields["output_index"],
            "item": item,
        }

    def _take_unsent_text(self, pieces: list[str]) -> str:
        """Return the text of the pieces that were not sent yet, and count them as sent."""
        if self._sent_piece_count == len(pieces):
            return ""
        fresh = "".join(pieces[self._sent_piece_count :])
        self._sent_piece_count = len(pieces)
        return fresh

    # --- for each kind of part --------------------------------------------------------------------
    def build_empty_item(self) -> Event:
        """Return the item before it has any content."""
        raise NotImplementedError

    def make_delta_events(self) -> Iterator[Event]:
        raise NotImplementedError

    def make_done_events(self) -> Iterator[Event]:
        raise NotImplementedError


class ThinkingEvents(PartEvents):
    """Thinking, as the content of a reasoning item or as its summary."""

    def __init__(
        self,
        part: AnswerPart,
        output_index: int,
        *,
        as_summary: bool = False,
        wants_encrypted_content: bool = False,
    ) -> None:
        super().__init__(
            part,
            output_index,
            as_summary=as_summary,
            wants_encrypted_content=wants_encrypted_content,
        )
        self._position_fields |= {"summary_index" if as_summary else "content_index": 0}
        self._part_event_prefix = (
            "response.reasoning_summary_part" if as_summary else "response.content_part"
        )
        self._text_event_prefix = (
            "response.reasoning_summary_text" if as_summary else "response.reasoning_text"
        )

    def _build_text_part(self, text: str) -> Event:
        return {"type": "summary_text" if self._as_summary else "reasoning_text", "text": text}

    def build_item(self, status: str) -> Event:
        shown = super().build_item(status)
        return (
            {**shown, "encrypted_content": encode_reasoning("".join(self.part.text))}
            if self._wants_encrypted_content
            else shown
        )

    def build_empty_item(self) -> Event:
        content: Event = {} if self._as_summary else {"content": []}
        return {
            "id": self.part.id,
            "type": "reasoning",
            "summary": [],
            **content,
            "status": "in_progress",
        }

    def open_item(self) -> Iterator[Event]:
        yield from super().open_item()
        yield {
            "type": f"{self._part_event_prefix}.added",
            **self._position_fields,
            "part": self._build_text_part(""),
        }

    def make_delta_events(self) -> Iterator[Event]:
        if fresh := self._take_unsent_text(self.part.text):
            yield {
                "type": f"{self._text_event_prefix}.delta",
                **self._position_fields,
                "delta": fresh,
            }

    def make_done_events(self) -> Iterator[Event]:
        text = "".join(self.part.text)
        yield {"type": f"{self._text_event_prefix}.done", **self._position_fields, "text": text}
        yield {
            "type": f"{self._part_event_prefix}.done",
            **self._position_fields,
            "part": self._build_text_part(text),
        }


class MessageEvents(PartEvents):
    """Text or a refusal, sent as it comes.

    When a message has both, the later one is sent at its end.
    """

    def __init__(
        self,
        part: AnswerPart,
        output_index: int,
        *,
        as_summary: bool = False,
        wants_encrypted_content: bool = False,
    ) -> None:
        super().__init__(
            part,
            output_index,
            as_summary=as_summary,
            wants_encrypted_content=wants_encrypted_content,
        )
        self._opened_part_types: list[str] = []  # kinds of the content parts that have begun
        self._sent_annotation_count = self._sent_logprob_count = (
            0  # annotations and log probabilities sent
        )

    def build_empty_item(self) -> Event:
        return {
            "id": self.part.id,
            "type": "message",
            "role": "assistant",
            "content": [],
            "status": "in_progress",
        }

    def build_item(self, status: str) -> Event:
        shown = super().build_item(status)
        if self._opened_part_types[:1] == ["refusal"]:
            shown["content"].sort(key=lambda part: part["type"] != "refusal")
        return shown

    def make_delta_events(self) -> Iterator[Event]:
        part = self.part
        if not self._opened_part_types:
            if not (part.text or part.refusal):
                return
            yield self._open_content_part(
                "refusal" if part.refusal and not part.text else "output_text"
            )
        yield from self._make_content_deltas()

    def make_done_events(self) -> Iterator[Event]:
        if not self._opened_part_types:
            yield self._open_content_part("output_text")
            yield from self._make_content_deltas()
        yield from self._close_content_part()
        first = self._opened_part_types[0]
        pieces = {"output_text": self.part.text, "refusal": self.part.refusal}
        other = "refusal" if first == "output_text" else "output_text"
        if pieces[other]:
            yield self._open_content_part(other)
            yield from self._make_content_deltas()
            yield from self._close_content_part()

    def _open_content_part(self, kind: str) -> Event:
        self._sent_piece_count, self._position_fields["content_index"] = (
            0,
            len(self._opened_part_types),
        )
        self._opened_part_types.append(kind)
        empty = (
            {"text": "", "annotations": [], "logprobs": []}
            if kind == "output_text"
            else {"refusal": ""}
        )
        return {
            "type": "response.content_part.added",
            **self._position_fields,
            "part": {"type": kind, **empty},
        }

    def _make_content_deltas(self) -> Iterator[Event]:
        part = self.part
        if self._opened_part_types[-1] == "refusal":
            if fresh := self._take_unsent_text(part.refusal):
                yield {"type": "response.refusal.delta", **self._position_fields, "delta": fresh}
            return
        if fresh := self._take_unsent_text(part.text):
            weighed = part.logprobs[self._sent_logprob_count :]
            self._sent_logprob_count = len(part.logprobs)
            shown = render_logprobs(weighed) if weighed else []
            yield {
                "type": "response.output_text.delta",
                **self._position_fields,
                "delta": fresh,
                "logprobs": shown,
            }
        if part.annotations:
            cited = render_annotations(part.annotations)
            for index in range(self._sent_annotation_count, len(cited)):
                what = "response.output_text.annotation.added"
                yield {
                    "type": what,
                    **self._position_fields,
                    "annotation_index": index,
                    "annotation": cited[index],
                }
            self._sent_annotation_count = len(cited)

    def _close_content_part(self) -> Iterator[Event]:
        kind = self._opened_part_types[-1]
        [shown] = [
            part for part in super().build_item("completed")["content"] if part["type"] == kind
        ]
        rest = {name: shown[name] for name in ("text", "logprobs", "refusal") if name in shown}
        yield {"type": f"response.{kind}.done", **self._position_fields, **rest}
        yield {"type": "response.content_part.done", **self._position_fields, "part": shown}


class CallEvents(PartEvents):
    """A function call."""

    _checked_piece_count = -1  # number of argument pieces at the last check of `is_complete`
    _has_complete_arguments = False

    @property
    def can_open(self) -> bool:
        """Return whether name and arguments have begun: no piece of a name follows arguments."""
        return bool(self.part.name and self.part.arguments)

    @property
    def is_complete(self) -> bool:
        """Return whether the arguments are complete JSON, which cannot grow.

        Upstreams may continue an earlier call after a later one has begun.
        """
        if self._checked_piece_count != len(self.part.arguments):
            self._checked_piece_count = len(self.part.arguments)
            try:
                orjson.loads("".join(self.part.arguments))
                self._has_complete_arguments = True
            except orjson.JSONDecodeError:
                self._has_complete_arguments = False
        return self._has_complete_arguments and bool(self.part.name)

    def build_empty_item(self) -> Event:
        call = {"call_id": self.part.call_id, "name": self.part.name, "arguments": ""}
        return {"id": self.part.id, "type": "function_call", **call, "status": "in_progress"}

    def make_delta_events(self) -> Iterator[Event]:
        if fresh := self._take_unsent_text(self.part.arguments):
            yield {
                "type": "response.function_call_arguments.delta",
                **self._position_fields,
                "delta": fresh,
            }

    def make_done_events(self) -> Iterator[Event]:
        said = {"name": self.part.name, "arguments": "".join(self.part.arguments)}
        yield {"type": "response.function_call_arguments.done", **self._position_fields, **said}


EVENTS_BY_PART_TYPE: dict[str, type[PartEvents]] = {
    "reasoning": ThinkingEvents,
    "message": MessageEvents,
    "function_call": CallEvents,
}
