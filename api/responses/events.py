"""The events of a response: its beginning, the parts of its answer, and its end, without gaps.

One part is closed before the next is opened. When an upstream sends the arguments of several calls
alternately, the later calls wait. Source: OpenAI's API reference, "Streaming events".
"""

import time
from collections.abc import Iterable
from typing import Any

from api.responses.objects import REASONS, Head, Outcome, response_object, shown_error
from api.responses.part_events import KINDS, Event, PartEvents
from conversations.messages.answer_builder import Answer
from providers.exceptions import GatewayError


class Events:
    """The events of one response, made from an answer that another object builds.

    Each event is returned once.
    """

    def __init__(self, head: Head, answer: Answer) -> None:
        self._head = head
        self._answer = answer
        self._number = 0  # number of the next event
        self._at = 0  # index of the current part
        self._telling: PartEvents | None = None
        self._output: list[dict[str, Any]] = []  # items of closed parts

    @property
    def begun(self) -> bool:
        return self._number > 0

    def begin(self) -> list[Event]:
        """Return the events before the first part, or none if they were returned before."""
        if self.begun:
            return []
        if not self._head.background:
            return self._numbered([self._life("created"), self._life("in_progress")])
        queued = Outcome(status="queued")
        told = [
            self._life("created", queued),
            self._life("queued", queued),
            self._life("in_progress"),
        ]
        return self._numbered(told)

    def news(self) -> list[Event]:
        """Return the events for everything that the answer brought since the last call."""
        parts = self._answer.parts
        found = self.begin()
        while self._at < len(parts):
            telling = self._current()
            found += self._numbered(telling.news())
            if self._at == len(parts) - 1 or not telling.complete:
                break
            found += self._close("completed")
        return found

    def end(self, usage: dict[str, Any] | None) -> list[Event]:
        """Return the remaining events of an answer that ended well.

        The response is completed, or incomplete when the model was cut off.
        """
        parts = self._answer.parts
        found = self.begin()
        reason = self._answer.finish_reason
        status = "incomplete" if reason in REASONS else "completed"
        while self._at < len(parts):
            found += self._close(status if self._at == len(parts) - 1 else "completed")
        return found + self._numbered(
            [self._life(status, self._outcome(status, self._output, usage))]
        )

    def fail(self, error: GatewayError, usage: dict[str, Any] | None = None) -> list[Event]:
        """Return the final events of an answer that broke off.

        The response object holds the incomplete output until then.
        """
        found = self.begin()
        failure = shown_error(error.shown_code, error.message)
        begun = [self._telling] if self._telling else []
        begun += [self._made(at) for at in range(self._at + len(begun), len(self._answer.parts))]
        cut = [
            part.item("completed" if part.complete and part is not begun[-1] else "incomplete")
            for part in begun
        ]
        failed = Outcome(
            "failed", [*self._output, *cut], usage, error=failure, extras=self._answer.extras
        )
        return found + self._numbered([self._life("failed", failed)])

    def whole(self, usage: dict[str, Any] | None) -> dict[str, Any]:
        """Return the response object of an answer that was not streamed."""
        status = "incomplete" if self._answer.finish_reason in REASONS else "completed"
        parts = [self._made(at) for at in range(len(self._answer.parts))]
        output = [part.item(status if part is parts[-1] else "completed") for part in parts]
        return response_object(self._head, self._outcome(status, output, usage))

    def _outcome(
        self, status: str, output: list[dict[str, Any]], usage: dict[str, Any] | None
    ) -> Outcome:
        answer = self._answer
        done = int(time.time()) if status == "completed" else None
        return Outcome(status, output, usage, None, answer.finish_reason, done, answer.extras)

    def _made(self, at: int) -> PartEvents:
        part = self._answer.parts[at]
        return KINDS[part.type](
            part, at, as_summary=self._head.summarised, sealed=self._head.sealed
        )

    def _current(self) -> PartEvents:
        if self._telling is None:
            self._telling = self._made(self._at)
        return self._telling

    def _close(self, status: str) -> list[Event]:
        """Return the events that close the current part."""
        found = self._numbered(self._current().close(status))
        self._output.append(found[-1]["item"])
        self._telling = None
        self._at = self._at + 1
        return found

    def _life(self, what: str, outcome: Outcome | None = None) -> Event:
        return {
            "type": f"response.{what}",
            "response": response_object(self._head, outcome or Outcome()),
        }

    def _numbered(self, events: Iterable[Event]) -> list[Event]:
        found = list(events)
        for event in found:
            event["sequence_number"] = self._number
            self._number += 1
        return found
