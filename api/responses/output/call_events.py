"""The events of a call: of a function, or of a custom tool, whose input is free text."""

from collections.abc import Iterator

import orjson

from api.responses.output.objects import ResponseHead
from api.responses.output.part_events import Event, PartEvents
from conversations.messages.answer_builder import AnswerPart
from conversations.messages.custom_input import CustomInputReader


class CallEvents(PartEvents):
    """A call. The name tells which tool it means, so its item waits for the name."""

    _checked_piece_count = -1  # number of argument pieces at the last check of `is_complete`
    _has_complete_arguments = False

    def __init__(self, part: AnswerPart, output_index: int, head: ResponseHead) -> None:
        super().__init__(part, output_index, head)
        self._input_reader = CustomInputReader()
        self._event_prefix = "response.function_call_arguments"
        self._payload_field = "arguments"

    @property
    def can_open(self) -> bool:
        """Return whether name and arguments have begun: no piece of a name follows arguments."""
        return bool(self.part.name and self.part.arguments)

    @property
    def is_complete(self) -> bool:
        """Return whether the arguments are complete JSON, which cannot grow.

        Upstreams may continue an earlier call after a later one has begun.
        """
        if self.part.call_kind == "custom":
            return False
        if self._checked_piece_count != len(self.part.arguments):
            self._checked_piece_count = len(self.part.arguments)
            self._has_complete_arguments = is_json("".join(self.part.arguments))
        return self._has_complete_arguments and bool(self.part.name)

    def open_item(self) -> Iterator[Event]:
        self._position_fields["item_id"] = self.part.id  # it has its final form now
        if self.part.called_tool.kind == "custom":
            self._event_prefix = "response.custom_tool_call_input"
            self._payload_field = "input"
        yield from super().open_item()

    def build_empty_item(self) -> Event:
        item = self.build_item("incomplete")
        return item | {self._payload_field: "", "status": "in_progress"}

    def make_delta_events(self) -> Iterator[Event]:
        fresh = self._take_unsent_text(self.part.arguments)
        if self._is_decoded:
            fresh = self._input_reader.add_piece(fresh)
        if fresh:
            yield self._build_delta(fresh)

    def make_done_events(self) -> Iterator[Event]:
        if self._is_decoded and (rest := self._input_reader.read_rest()):
            yield self._build_delta(rest)
        item = self.build_item("completed")
        fields = {self._payload_field: item[self._payload_field]}
        if self._payload_field == "arguments":
            fields["name"] = item["name"]
        yield {"type": f"{self._event_prefix}.done", **self._position_fields, **fields}

    @property
    def _is_decoded(self) -> bool:
        """Return whether the input of a custom tool is in the arguments of a function."""
        return self._payload_field == "input" and self.part.call_kind != "custom"

    def _build_delta(self, text: str) -> Event:
        return {"type": f"{self._event_prefix}.delta", **self._position_fields, "delta": text}


def is_json(text: str) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True
