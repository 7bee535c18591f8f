"""The events of a message: its text and its refusal."""

from collections.abc import Iterator

from api.responses.output.objects import ResponseHead
from api.responses.output.output_items import render_annotations, render_logprobs
from api.responses.output.part_events import Event, PartEvents
from conversations.messages.answer_builder import AnswerPart

EMPTY_CONTENT: dict[str, Event] = {
    "output_text": {"text": "", "annotations": [], "logprobs": []},
    "refusal": {"refusal": ""},
}
DONE_FIELDS = ("text", "logprobs", "refusal")  # fields of a content part that its end repeats


class MessageEvents(PartEvents):
    """Text or a refusal, sent as it comes.

    When a message has both, the later one is sent at its end.
    """

    def __init__(self, part: AnswerPart, output_index: int, head: ResponseHead) -> None:
        super().__init__(part, output_index, head)
        self._opened_part_types: list[str] = []  # types of the content parts that have begun
        self._sent_annotation_count = 0
        self._sent_logprob_count = 0

    def build_empty_item(self) -> Event:
        return {
            "id": self.part.id,
            "type": "message",
            "role": "assistant",
            "content": [],
            "status": "in_progress",
        }

    def build_item(self, status: str) -> Event:
        item = super().build_item(status)
        if self._opened_part_types[:1] == ["refusal"]:
            item["content"].sort(key=lambda part: part["type"] != "refusal")
        return item

    def make_delta_events(self) -> Iterator[Event]:
        if not self._opened_part_types:
            if self.part.text:
                yield self._open_content_part("output_text")
            elif self.part.refusal:
                yield self._open_content_part("refusal")
            else:
                return
        yield from self._make_content_deltas()

    def make_done_events(self) -> Iterator[Event]:
        if not self._opened_part_types:
            yield self._open_content_part("output_text")
            yield from self._make_content_deltas()
        yield from self._close_content_part()
        pieces_by_type = {"output_text": self.part.text, "refusal": self.part.refusal}
        for part_type, pieces in pieces_by_type.items():
            if pieces and part_type not in self._opened_part_types:
                yield self._open_content_part(part_type)
                yield from self._make_content_deltas()
                yield from self._close_content_part()

    def _open_content_part(self, part_type: str) -> Event:
        self._sent_piece_count = 0
        self._position_fields["content_index"] = len(self._opened_part_types)
        self._opened_part_types.append(part_type)
        return {
            "type": "response.content_part.added",
            **self._position_fields,
            "part": {"type": part_type, **EMPTY_CONTENT[part_type]},
        }

    def _make_content_deltas(self) -> Iterator[Event]:
        if self._opened_part_types[-1] == "refusal":
            fresh = self._take_unsent_text(self.part.refusal)
            if fresh:
                yield {"type": "response.refusal.delta", **self._position_fields, "delta": fresh}
            return
        fresh = self._take_unsent_text(self.part.text)
        if fresh:
            yield self._build_text_delta(fresh)
        if self.part.annotations:
            yield from self._make_annotation_events()

    def _build_text_delta(self, text: str) -> Event:
        logprobs = self.part.logprobs[self._sent_logprob_count :]
        if logprobs:
            self._sent_logprob_count = len(self.part.logprobs)
            logprobs = render_logprobs(logprobs)
        return {
            "type": "response.output_text.delta",
            **self._position_fields,
            "delta": text,
            "logprobs": logprobs,
        }

    def _make_annotation_events(self) -> Iterator[Event]:
        annotations = render_annotations(self.part.annotations)
        for index in range(self._sent_annotation_count, len(annotations)):
            yield {
                "type": "response.output_text.annotation.added",
                **self._position_fields,
                "annotation_index": index,
                "annotation": annotations[index],
            }
        self._sent_annotation_count = len(annotations)

    def _close_content_part(self) -> Iterator[Event]:
        part_type = self._opened_part_types[-1]
        [content] = [
            content
            for content in super().build_item("completed")["content"]
            if content["type"] == part_type
        ]
        fields = {name: content[name] for name in DONE_FIELDS if name in content}
        yield {"type": f"response.{part_type}.done", **self._position_fields, **fields}
        yield {"type": "response.content_part.done", **self._position_fields, "part": content}
