"""The events of a function call."""

from collections.abc import Iterator

import orjson

from api.responses.output.part_events import Event, PartEvents


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
            self._has_complete_arguments = is_json("".join(self.part.arguments))
        return self._has_complete_arguments and bool(self.part.name)

    def build_empty_item(self) -> Event:
        return {
            "id": self.part.id,
            "type": "function_call",
            "call_id": self.part.call_id,
            "name": self.part.name,
            "arguments": "",
            "status": "in_progress",
        }

    def make_delta_events(self) -> Iterator[Event]:
        fresh = self._take_unsent_text(self.part.arguments)
        if fresh:
            yield {
                "type": "response.function_call_arguments.delta",
                **self._position_fields,
                "delta": fresh,
            }

    def make_done_events(self) -> Iterator[Event]:
        yield {
            "type": "response.function_call_arguments.done",
            **self._position_fields,
            "name": self.part.name,
            "arguments": "".join(self.part.arguments),
        }


def is_json(text: str) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True
