"""Answer the lines of one run: as often as a line may be asked, until it has a result."""

import logging
import time
from typing import TYPE_CHECKING

from django.conf import settings

from api.batches.finish_batch import EndReason
from api.batches.lines.input_lines import InputLine, LineProblem, parse_line
from api.batches.lines.line_outcomes import (
    Outcome,
    classify_answer,
    make_answer_result,
    make_line_id,
    make_problem_result,
)
from api.batches.lines.line_request import LineAnswer, LineSender, answer_line
from api.batches.lines.line_source import LineSource
from api.batches.lines.pacing import Pacer
from api.batches.lines.result_log import ResultLog
from api.batches.part_files import LineResult
from api.models import ApiKey, Batch
from providers.database.database_threads import HOUSEKEEPING

if TYPE_CHECKING:
    from api.relay.gateway import Gateway

logger = logging.getLogger(__name__)

WAIT_SECONDS = 1.0  # after a refusal that names no time
RETRY_SECONDS = 1.0  # before a failed line is asked again; doubled each time
LONGEST_RETRY_SECONDS = 30.0
MONEY_LOOK_SECONDS = 30.0  # between two tries of a batch whose budget is spent


def read_key_digest(key_id: int | None) -> str:
    """Return the digest of a key that is valid now, or an empty string."""
    if key_id is None:
        return ""
    row = ApiKey.objects.filter_valid().filter(pk=key_id).values_list("digest", flat=True).first()
    return row or ""


class LineRunner:
    """Answers the lines of one run; `end_reason` says why no more of them are asked."""

    def __init__(
        self, gateway: "Gateway", batch: Batch, sender: LineSender, log: ResultLog
    ) -> None:
        self._gateway = gateway
        self._batch = batch
        self._sender = sender
        self._log = log
        self.pacer = Pacer(gateway, sender.key_digest)
        self.end_reason: EndReason | None = None
        self._money_deadline: float | None = None  # on the monotonic clock

    def stop(self, reason: EndReason | None = None) -> None:
        """Ask no more lines; `reason` ends the batch, None leaves the rest to the next run."""
        self.end_reason = self.end_reason or reason
        self.pacer.stopped.set()

    async def answer_lines(self, source: LineSource) -> None:
        """Answer line after line until there is none, or the run stops. Raises OSError."""
        while not self.pacer.stopped.is_set():
            line = await source.take_line()
            if line is None:
                return
            await self._answer_line(line)

    async def _answer_line(self, line: InputLine) -> None:
        """Ask one line until it has a result, and write that. Raises OSError.

        A line without a result when the run stops has none.
        """
        try:
            shape = parse_line(line.raw)
        except LineProblem as problem:  # it could be read when the lines were checked
            await self._record_problem(line.position, problem)
            return
        body = bytes(shape.body or b"")
        try_count = 0
        while await self.pacer.begin_line():
            sender = self._sender
            try:
                answer = await answer_line(self._gateway, sender, body)
            finally:
                self.pacer.end_line()
            outcome = classify_answer(answer)
            try_count += outcome is Outcome.RETRY
            if outcome is Outcome.RETRY and try_count >= settings.BATCH_LINE_TRIES:
                outcome = Outcome.DONE
            if outcome is Outcome.DONE:
                await self._record_answer(line.position, str(shape.custom_id), answer)
                return
            if outcome is Outcome.NO_KEY:
                await self._find_new_secret(sender)
            else:
                await self._wait(outcome, answer, try_count)

    async def _record_answer(self, position: int, custom_id: str, answer: LineAnswer) -> None:
        """Write the result of a line. Raises OSError."""
        self.pacer.record_answer()
        self._money_deadline = None
        line_id = make_line_id(self._batch.pk, position)
        await self._add_result(make_answer_result(line_id, position, custom_id, answer))

    async def _record_problem(self, position: int, problem: LineProblem) -> None:
        """Write the result of a line that cannot be asked. Raises OSError."""
        line_id = make_line_id(self._batch.pk, position)
        await self._add_result(make_problem_result(line_id, position, problem))

    async def _add_result(self, result: LineResult) -> None:
        """Write a result; stop when the results are too large. Raises OSError."""
        await self._log.add_result(result)
        if self._log.tally.size_bytes > settings.BATCH_OUTPUT_BYTES:
            self.stop(EndReason.OUTPUT_FULL)

    async def _find_new_secret(self, refused: LineSender) -> None:
        """Go on with the key's new secret; stop the run when the key has ended."""
        digest = await HOUSEKEEPING.run_work(read_key_digest, self._batch.key_id)
        if not digest or digest == refused.key_digest:
            self.stop(EndReason.KEY_INVALID)
            return
        self._sender = refused._replace(key_digest=digest)
        self.pacer.key_digest = digest

    async def _wait(self, outcome: Outcome, answer: LineAnswer, try_count: int) -> None:
        """Wait before a line is asked again, or let the whole batch wait."""
        if outcome is Outcome.RETRY:
            seconds = min(RETRY_SECONDS * 2.0 ** (try_count - 1), LONGEST_RETRY_SECONDS)
            self.pacer.record_failure()
            await self.pacer.sleep(max(seconds, answer.retry_seconds or 0))
        elif outcome is Outcome.NO_MONEY:
            self._wait_for_money()
        else:
            self.pacer.pause(answer.retry_seconds or WAIT_SECONDS)

    def _wait_for_money(self) -> None:
        """Let the batch wait for money; stop the run after BATCH_QUOTA_SECONDS without any."""
        now = time.monotonic()
        if self._money_deadline is None:
            self._money_deadline = now + settings.BATCH_QUOTA_SECONDS
        seconds = self._money_deadline - now
        if seconds <= 0:
            self.stop(EndReason.NO_MONEY)
        else:
            self.pacer.pause(min(MONEY_LOOK_SECONDS, seconds))
