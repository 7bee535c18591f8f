"""The events of a response: its beginning, the parts of its answer, and its end, without gaps.

One part is closed before the next is opened. When an upstream sends the arguments of several calls
alternately, the later calls wait. Source: OpenAI's API reference, "Streaming events".
"""

import time
from collections.abc import Iterable

from api.responses.output.call_events import CallEvents
from api.responses.output.compaction_events import CompactionEvents
from api.responses.output.message_events import MessageEvents
from api.responses.output.objects import (
    INCOMPLETE_REASONS,
    ResponseHead,
    ResponseOutcome,
    build_response_object,
    render_error_object,
)
from api.responses.output.part_events import Event, PartEvents
from api.responses.output.server_item_events import ServerItemEvents
from api.responses.output.thinking_events import ThinkingEvents
from conversations.messages.answer_builder import CollectedAnswer
from conversations.messages.items import SERVER_ITEM_TYPES
from providers.exceptions import GatewayError
from providers.protocol.json_types import JsonObject

EVENTS_BY_PART_TYPE: dict[str, type[PartEvents]] = {
    "reasoning": ThinkingEvents,
    "message": MessageEvents,
    "function_call": CallEvents,
    **dict.fromkeys(SERVER_ITEM_TYPES, ServerItemEvents),
    "compaction": CompactionEvents,
}


class ResponseEvents:
    """The events of one response, made from an answer that another object builds.

    Each event is returned once.
    """

    def __init__(self, head: ResponseHead, answer: CollectedAnswer) -> None:
        self._head = head
        self._answer = answer
        self._next_event_number = 0
        self._part_index = 0  # of the current part
        self._current_part: PartEvents | None = None
        self._closed_items: list[JsonObject] = []  # items of closed parts

    @property
    def has_begun(self) -> bool:
        return self._next_event_number > 0

    def make_opening_events(self) -> list[Event]:
        """Return the events before the first part, or none if they were returned before."""
        if self.has_begun:
            return []
        if not self._head.background:
            return self._number_events(
                [self._build_response_event("created"), self._build_response_event("in_progress")]
            )
        queued = ResponseOutcome(status="queued")
        return self._number_events(
            [
                self._build_response_event("created", queued),
                self._build_response_event("queued", queued),
                self._build_response_event("in_progress"),
            ]
        )

    def make_new_events(self) -> list[Event]:
        """Return the events for everything that the answer brought since the last call."""
        parts = self._answer.parts
        new_events = self.make_opening_events()
        while self._part_index < len(parts):
            part_events = self._open_current_part()
            new_events += self._number_events(part_events.make_new_events())
            is_last = self._part_index == len(parts) - 1
            if not part_events.is_complete or (is_last and not part_events.has_ended):
                break
            new_events += self._close_current_part("completed")
        return new_events

    def make_final_events(self, usage: JsonObject | None) -> list[Event]:
        """Return the remaining events of an answer that ended well.

        The response is completed, or incomplete when the model was cut off.
        """
        events = self.make_opening_events()
        status = self._find_final_status()
        last_index = len(self._answer.parts) - 1
        while self._part_index < last_index:
            events += self._close_current_part("completed")
        if self._part_index == last_index:
            events += self._close_current_part(status)
        outcome = self._build_outcome(status, self._closed_items, usage)
        return events + self._number_events([self._build_response_event(status, outcome)])

    def make_failure_events(
        self, error: GatewayError, usage: JsonObject | None = None
    ) -> list[Event]:
        """Return the final events of an answer that broke off.

        The response object holds the incomplete output until then.
        """
        events = self.make_opening_events()
        outcome = ResponseOutcome(
            "failed",
            [*self._closed_items, *self._build_unclosed_items()],
            usage,
            error=render_error_object(error.shown_code, error.message),
            extra_fields=self._answer.extra_fields,
        )
        return events + self._number_events([self._build_response_event("failed", outcome)])

    def build_whole_response(self, usage: JsonObject | None) -> JsonObject:
        """Return the response object of an answer that was not streamed."""
        status = self._find_final_status()
        parts = [self._build_part_events(index) for index in range(len(self._answer.parts))]
        output = [part.build_item("completed") for part in parts[:-1]]
        output += [part.build_item(status) for part in parts[-1:]]
        return build_response_object(self._head, self._build_outcome(status, output, usage))

    def _find_final_status(self) -> str:
        """Return the status of an answer that ended well."""
        if self._answer.finish_reason in INCOMPLETE_REASONS:
            return "incomplete"
        return "completed"

    def _build_unclosed_items(self) -> list[JsonObject]:
        """Return the items that were not closed, of which the last one is always incomplete."""
        parts = [] if self._current_part is None else [self._current_part]
        first_unopened = self._part_index + len(parts)
        parts += map(self._build_part_events, range(first_unopened, len(self._answer.parts)))
        items = []
        for part in parts:
            is_complete = part.is_complete and part is not parts[-1]
            items.append(part.build_item("completed" if is_complete else "incomplete"))
        return items

    def _build_outcome(
        self, status: str, output: list[JsonObject], usage: JsonObject | None
    ) -> ResponseOutcome:
        return ResponseOutcome(
            status,
            output,
            usage,
            finish_reason=self._answer.finish_reason,
            completed_at=int(time.time()) if status == "completed" else None,
            extra_fields=self._answer.extra_fields,
        )

    def _build_part_events(self, part_index: int) -> PartEvents:
        part = self._answer.parts[part_index]
        return EVENTS_BY_PART_TYPE[part.type](part, part_index, self._head)

    def _open_current_part(self) -> PartEvents:
        if self._current_part is None:
            self._current_part = self._build_part_events(self._part_index)
        return self._current_part

    def _close_current_part(self, status: str) -> list[Event]:
        """Return the events that close the current part."""
        events = self._number_events(self._open_current_part().close_item(status))
        self._closed_items.append(events[-1]["item"])
        self._current_part = None
        self._part_index += 1
        return events

    def _build_response_event(
        self, event_name: str, outcome: ResponseOutcome | None = None
    ) -> Event:
        return {
            "type": f"response.{event_name}",
            "response": build_response_object(self._head, outcome or ResponseOutcome()),
        }

    def _number_events(self, events: Iterable[Event]) -> list[Event]:
        numbered = list(events)
        for event in numbered:
            event["sequence_number"] = self._next_event_number
            self._next_event_number += 1
        return numbered
