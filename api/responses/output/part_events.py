"""The events of one part of an answer: its item is opened, sent piece by piece, and closed.

`PartEvents` is the base of all kinds of parts. It keeps its position in the pieces of a part that
still grows (conversations/messages/answer_builder.py). Its events lack only the sequence number.
Source: OpenAI's API reference, "Streaming events".
"""

from collections.abc import Iterator

from api.responses.output.objects import ResponseHead
from api.responses.output.output_items import render_output_item
from conversations.messages.answer_builder import AnswerPart
from providers.protocol.json_types import JsonObject

Event = JsonObject
FINAL_EVENT_TYPES = ("response.completed", "response.incomplete", "response.failed")


class PartEvents:
    """The base of all kinds of parts; `output_index` is the part's place in the answer."""

    def __init__(self, part: AnswerPart, output_index: int, head: ResponseHead) -> None:
        self.part = part
        self._as_summary = head.wants_summary
        self._wants_encrypted_content = head.wants_encrypted_content
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

    @property
    def has_ended(self) -> bool:
        """Return whether the part is over although no other part has begun."""
        return False

    def make_new_events(self) -> Iterator[Event]:
        """Yield the events for everything that came since the last call."""
        if not self._is_open and self.can_open:
            yield from self.open_item()
        if self._is_open:
            yield from self.make_delta_events()

    def close_item(self, status: str) -> Iterator[Event]:
        """Yield the remaining events of the item; `status` is completed or incomplete."""
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
        """Yield the events that come before any content."""
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

    # --- written by each kind of part -------------------------------------------------------------
    def build_empty_item(self) -> Event:
        """Return the item before it has any content."""
        raise NotImplementedError

    def make_delta_events(self) -> Iterator[Event]:
        """Yield the events for the pieces that were not sent yet."""
        raise NotImplementedError

    def make_done_events(self) -> Iterator[Event]:
        """Yield the events that repeat the whole content, before the item is closed."""
        raise NotImplementedError
