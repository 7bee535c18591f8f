"""The outcome of a turn, from its collected answer and the way in which it ended."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from conversations.history import deduplicate
from conversations.history.finish_turn import TurnOutcome, TurnStart
from conversations.messages.answer_builder import CollectedAnswer
from conversations.messages.items import CALL_TYPES, Entry, replace_unstorable
from conversations.models import TurnEndpoint, TurnStatus
from providers.exceptions import GatewayError
from providers.protocol.request import Resume
from providers.protocol.trace import Trace

CUT_OFF_REASONS = ("length", "content_filter")
UNWRITTEN_ERROR = {
    "code": "database_unavailable",
    "message": "The database was away at the end of this answer.",
}
TOO_LONG_ERROR = {
    "code": "answer_too_long",
    "message": "Only the beginning of this answer was stored.",
}
SHUT_DOWN_ERROR = {"code": "server_shutdown", "message": "The server was shutting down."}
ABANDONED_ERROR = {"code": "abandoned", "message": "The caller left before the end."}


@dataclass(slots=True)
class OpenTurn:
    """A turn that is being answered.

    `answer` is the answer so far; `stop_event` is set when a user asks to stop the turn.
    """

    turn_start: TurnStart
    endpoint: TurnEndpoint
    background: bool
    answer: CollectedAnswer
    stop_event: asyncio.Event = field(default_factory=asyncio.Event)
    lock: asyncio.Lock | None = None

    @property
    def id(self) -> str:
        return self.turn_start.id


def determine_outcome(turn: OpenTurn, trace: Trace, error: BaseException | None) -> TurnOutcome:
    """Return the outcome of a turn that ended with this exception, or well for None."""
    answer = turn.answer
    status = determine_status(turn, error)
    extra_fields = answer.extra_fields
    other_choices = answer.render_other_choices()
    if other_choices:
        extra_fields |= {"choices": other_choices}
    usage = trace.meter.counted
    entries = answer.make_entries(is_whole=status == TurnStatus.COMPLETED)
    add_hidden_thinking(entries, trace)
    return TurnOutcome(
        id=turn.id,
        conversation_id=turn.turn_start.conversation_id,
        status=status,
        entries=strip_preface(entries, trace.strategy_result.preface),
        finish_reason=answer.finish_reason,
        usage=usage.as_openai() if usage is not None else None,
        error=describe_turn_error(turn, error),
        extra_fields=extra_fields,
        thinking=trace.strategy_result.thinking,
        chat=find_upstream_chat(trace) if error is None else None,
    )


def add_hidden_thinking(entries: Sequence[Entry], trace: Trace) -> None:
    """Add to the first output the thinking that its upstream wants back and the caller did not get.

    Changes the item in place.
    """
    attempt = trace.answering_attempt
    if attempt is None or not attempt.keeps_thinking or not attempt.hidden_thinking:
        return
    for entry in entries:
        if entry.type in ("message", *CALL_TYPES):
            entry.hidden_thinking = replace_unstorable("".join(attempt.hidden_thinking))
            return


def determine_status(turn: OpenTurn, error: BaseException | None) -> TurnStatus:
    """Return the status of a turn that ended with this exception, or well for None."""
    answer = turn.answer
    if error is None:
        is_response = turn.endpoint == TurnEndpoint.RESPONSE
        is_cut_short = is_response and answer.finish_reason in CUT_OFF_REASONS
        if answer.is_cut_off or is_cut_short:
            return TurnStatus.INCOMPLETE
        return TurnStatus.COMPLETED
    if turn.stop_event.is_set():
        return TurnStatus.CANCELLED
    if answer.parts or not isinstance(error, GatewayError):
        return TurnStatus.INCOMPLETE
    return TurnStatus.FAILED


def find_upstream_chat(trace: Trace) -> Resume | None:
    """Return the chat at the upstream that the answer is part of, or None."""
    attempt = trace.answering_attempt
    if attempt is None or attempt.token_id is None or not attempt.chat_id:
        return None
    return Resume(attempt.token_id, attempt.chat_id, attempt.parent_id)


def make_undelivered(outcome: TurnOutcome) -> TurnOutcome:
    """Return the outcome to store for a caller who got an error in place of the answer's end."""
    if outcome.status != TurnStatus.COMPLETED:
        return outcome
    return replace(outcome, status=TurnStatus.INCOMPLETE, error=UNWRITTEN_ERROR)


def describe_turn_error(turn: OpenTurn, error: BaseException | None) -> dict[str, str] | None:
    """Return the error that is stored with the turn; none when it ended well or was stopped."""
    if error is None:
        is_response = turn.endpoint == TurnEndpoint.RESPONSE
        return TOO_LONG_ERROR if turn.answer.is_cut_off and not is_response else None
    if turn.stop_event.is_set():
        return None
    if isinstance(error, GatewayError):
        return {"code": error.shown_code or error.type, "message": error.message}
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        return SHUT_DOWN_ERROR if error.args else ABANDONED_ERROR
    return {"code": "internal_error", "message": "Something went wrong here."}


def strip_preface(entries: Sequence[Entry], preface: str) -> Sequence[Entry]:
    """Return the items of an answer without the thinking in front of its text.

    `preface` is that thinking. The message item is changed in place; its digest stays that of
    the text as the caller received it.
    """
    message = next((entry for entry in entries if entry.type == "message"), None)
    if preface and message is not None and message.text.startswith(preface):
        message.received_digest = deduplicate.hash_text(message.text)
        message.text = message.text[len(preface) :]
        for part in message.data["content"][:1]:
            part["text"] = part["text"].removeprefix(preface)
    return entries
