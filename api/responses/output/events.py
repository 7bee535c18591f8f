"""The events of a response: its beginning, the parts of its answer, and its end, without gaps.

One part is closed before the next is opened. When an upstream sends the arguments of several calls
alternately, the later calls wait. Source: OpenAI's API reference, "Streaming events".
"""

import time
from collections.abc import Iterable
from typing import Any

from api.responses.output.objects import (
    INCOMPLETE_REASONS,
    ResponseHead,
    ResponseOutcome,
    build_response_object,
    render_error_object,
)
from api.responses.output.part_events import EVENTS_BY_PART_TYPE, Event, PartEvents
from conversations.messages.answer_builder import CollectedAnswer
from providers.exceptions import GatewayError


class ResponseEvents:
    """The events of one response, made from an answer that another object builds.

    Each event is returned once.
    """

    def __init__(self, head: ResponseHead, answer: CollectedAnswer) -> None:
        self._head = head
        self._answer = answer
        self._next_event_number = 0  # number of the next event
        self._part_index = 0  # index of the current part
        self._current_part: PartEvents | None = None
        self._closed_items: list[dict[str, Any]] = []  # items of closed parts

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
        told = [
            self._build_response_event("created", queued),
            self._build_response_event("queued", queued),
            self._build_response_event("in_progress"),
        ]
        return self._number_events(told)

    def make_new_events(self) -> list[Event]:
        """Return the events for everything that the answer brought since the last call."""
        parts = self._answer.parts
        found = self.make_opening_events()
        while self._part_index < len(parts):
            telling = self._open_current_part()
            found += self._number_events(telling.make_new_events())
            if self._part_index == len(parts) - 1 or not telling.is_complete:
                break
            found += self._close_current_part("completed")
        return found

    def make_final_events(self, usage: dict[str, Any] | None) -> list[Event]:
        """Return the remaining events of an answer that ended well.

        The response is completed, or incomplete when the model was cut off.
        """
        parts = self._answer.parts
        found = self.make_opening_events()
        reason = self._answer.finish_reason
        status = "incomplete" if reason in INCOMPLETE_REASONS else "completed"
        while self._part_index < len(parts):
            found += self._close_current_part(
                status if self._part_index == len(parts) - 1 else "completed"
            )
        return found + self._number_events(
            [
                self._build_response_event(
                    status, self._build_outcome(status, self._closed_items, usage)
                )
            ]
        )

    def make_failure_events(
        self, error: GatewayError, usage: dict[str, Any] | None = None
    ) -> list[Event]:
        """Return the final events of an answer that broke off.

        The response object holds the incomplete output until then.
        """
        found = self.make_opening_events()
        failure = render_error_object(error.shown_code, error.message)
        begun = [self._current_part] if self._current_part else []
        begun += [
            self._build_part_events(at)
            for at in range(self._part_index + len(begun), len(self._answer.parts))
        ]
        cut = [
            part.build_item(
                "completed" if part.is_complete and part is not begun[-1] else "incomplete"
            )
            for part in begun
        ]
        failed = ResponseOutcome(
            "failed", [*self._closed_items, *cut], usage, error=failure, extras=self._answer.extras
        )
        return found + self._number_events([self._build_response_event("failed", failed)])

    def build_whole_response(self, usage: dict[str, Any] | None) -> dict[str, Any]:
        """Return the response object of an answer that was not streamed."""
        status = "incomplete" if self._answer.finish_reason in INCOMPLETE_REASONS else "completed"
        parts = [self._build_part_events(at) for at in range(len(self._answer.parts))]
        output = [part.build_item(status if part is parts[-1] else "completed") for part in parts]
        return build_response_object(self._head, self._build_outcome(status, output, usage))

    def _build_outcome(
        self, status: str, output: list[dict[str, Any]], usage: dict[str, Any] | None
    ) -> ResponseOutcome:
        answer = self._answer
        done = int(time.time()) if status == "completed" else None
        return ResponseOutcome(
            status, output, usage, None, answer.finish_reason, done, answer.extras
        )

    def _build_part_events(self, part_index: int) -> PartEvents:
        part = self._answer.parts[part_index]
        return EVENTS_BY_PART_TYPE[part.type](
            part,
            part_index,
            as_summary=self._head.wants_summary,
            wants_encrypted_content=self._head.wants_encrypted_content,
        )

    def _open_current_part(self) -> PartEvents:
        if self._current_part is None:
            self._current_part = self._build_part_events(self._part_index)
        return self._current_part

    def _close_current_part(self, status: str) -> list[Event]:
        """Return the events that close the current part."""
        found = self._number_events(self._open_current_part().close_item(status))
        self._closed_items.append(found[-1]["item"])
        self._current_part = None
        self._part_index = self._part_index + 1
        return found

    def _build_response_event(
        self, event_name: str, outcome: ResponseOutcome | None = None
    ) -> Event:
        return {
            "type": f"response.{event_name}",
            "response": build_response_object(self._head, outcome or ResponseOutcome()),
        }

    def _number_events(self, events: Iterable[Event]) -> list[Event]:
        found = list(events)
        for event in found:
            event["sequence_number"] = self._next_event_number
            self._next_event_number += 1
        return found
