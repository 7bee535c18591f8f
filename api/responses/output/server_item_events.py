"""The events of a tool that the gateway runs: its item is there at once, its end comes later."""

from collections.abc import Iterator

from api.responses.output.part_events import Event, PartEvents
from conversations.messages.items import PRIVATE_FIELD

# the events between the beginning of an item and its end
PROGRESS_NAMES = {
    "mcp_list_tools": ("in_progress",),
    "mcp_call": ("in_progress",),
    "web_search_call": ("in_progress", "searching"),
    "file_search_call": ("in_progress", "searching"),
}
FAILING_TYPES = ("mcp_list_tools", "mcp_call")  # types with an event for a failure
EMPTY_FIELDS: dict[str, Event] = {"mcp_list_tools": {"tools": []}, "mcp_call": {"arguments": ""}}


class ServerItemEvents(PartEvents):
    """An item of a tool that the gateway runs, or that asks for an approval."""

    @property
    def is_complete(self) -> bool:
        return self.part.is_complete

    @property
    def has_ended(self) -> bool:
        return self.part.is_complete

    def build_item(self, status: str) -> Event:
        """Return the item with its own status, which the end of the answer does not change."""
        entry = self.part.make_entry(is_whole=True)
        data = {name: value for name, value in entry.data.items() if name != PRIVATE_FIELD}
        return {"id": self.part.id, **data, "status": entry.status}

    def build_empty_item(self) -> Event:
        item = self.build_item("in_progress") | EMPTY_FIELDS.get(self.part.type, {})
        return item | {"status": "in_progress"}

    def open_item(self) -> Iterator[Event]:
        yield from super().open_item()
        for name in PROGRESS_NAMES.get(self.part.type, ()):
            yield self._build_event(name)
        if self.part.type == "mcp_call":
            arguments = self.build_item("")["arguments"]
            prefix = "response.mcp_call_arguments"
            yield {"type": f"{prefix}.delta", **self._position_fields, "delta": arguments}
            yield {"type": f"{prefix}.done", **self._position_fields, "arguments": arguments}

    def make_delta_events(self) -> Iterator[Event]:
        """Yield nothing: such an item does not grow."""
        return iter(())

    def make_done_events(self) -> Iterator[Event]:
        status = self.build_item("")["status"]
        is_shown = status == "completed" or (status == "failed" and self.part.type in FAILING_TYPES)
        if is_shown and self.part.type in PROGRESS_NAMES:
            yield self._build_event(status)

    def _build_event(self, name: str) -> Event:
        return {"type": f"response.{self.part.type}.{name}", **self._position_fields}
