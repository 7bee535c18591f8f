"""The events of a compaction: its item is whole when it is opened and closed."""

from collections.abc import Iterator

from api.responses.output.part_events import Event, PartEvents


class CompactionEvents(PartEvents):
    """A summary of the conversation, which clients keep without reading it."""

    def build_empty_item(self) -> Event:
        return {"id": self.part.id, "type": "compaction", "encrypted_content": ""}

    def build_item(self, status: str) -> Event:
        """Return the finished item."""
        item = super().build_item(status)
        del item["status"]  # which OpenAI's item does not have
        return item

    def make_delta_events(self) -> Iterator[Event]:
        yield from ()

    def make_done_events(self) -> Iterator[Event]:
        yield from ()
