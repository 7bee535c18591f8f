"""The events of thinking, as the content of a reasoning item or as its summary."""

from collections.abc import Iterator

from api.responses.output.objects import ResponseHead
from api.responses.output.part_events import Event, PartEvents
from conversations.messages.answer_builder import AnswerPart
from conversations.messages.opaque_text import encode_opaque_text


class ThinkingEvents(PartEvents):
    """Thinking, as the content of a reasoning item or as its summary."""

    def __init__(self, part: AnswerPart, output_index: int, head: ResponseHead) -> None:
        super().__init__(part, output_index, head)
        if self._as_summary:
            self._position_fields["summary_index"] = 0
            self._part_event_prefix = "response.reasoning_summary_part"
            self._text_event_prefix = "response.reasoning_summary_text"
            self._text_type = "summary_text"
        else:
            self._position_fields["content_index"] = 0
            self._part_event_prefix = "response.content_part"
            self._text_event_prefix = "response.reasoning_text"
            self._text_type = "reasoning_text"

    def build_item(self, status: str) -> Event:
        item = super().build_item(status)
        if self._wants_encrypted_content:
            return {**item, "encrypted_content": encode_opaque_text("".join(self.part.text))}
        return item

    def build_empty_item(self) -> Event:
        item: Event = {"id": self.part.id, "type": "reasoning", "summary": []}
        if not self._as_summary:
            item["content"] = []
        item["status"] = "in_progress"
        return item

    def open_item(self) -> Iterator[Event]:
        yield from super().open_item()
        yield {
            "type": f"{self._part_event_prefix}.added",
            **self._position_fields,
            "part": {"type": self._text_type, "text": ""},
        }

    def make_delta_events(self) -> Iterator[Event]:
        fresh = self._take_unsent_text(self.part.text)
        if fresh:
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
            "part": {"type": self._text_type, "text": text},
        }
