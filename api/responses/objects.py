"""The response object, made while the answer comes in or from its rows.

`Head` is the part that does not change: ids, and the request fields that the object repeats.
`Outcome` is the part that the answer brings. Source: OpenAI's API reference, "The response object";
the types of the openai package.
"""

from collections.abc import Iterable

from msgspec import Struct

from api.responses import encrypted_reasoning
from api.responses.echoed_fields import DEFAULTS, Shown, repeated, summarised
from api.responses.output_items import shown_item
from api.responses.schema import conversation_id
from conversations.models import Item, Turn
from conversations.models.log import Door, Kind, TurnStatus
from providers.protocol.usage_meter import TokenUsage, parse_usage

REASONS = {
    "length": "max_output_tokens",
    "content_filter": "content_filter",
}  # finish reason -> reason of an incomplete response
UNHEARD = ("abandoned", "interrupted")  # error codes of turns whose caller or process went away
CODES = {  # our error code -> OpenAI's; every other one is a server_error
    "rate_limit_exceeded": "rate_limit_exceeded",
    "invalid_value": "invalid_prompt",
    "invalid_type": "invalid_prompt",
    "context_length_exceeded": "invalid_prompt",
}


class Head(Struct, frozen=True):
    """The facts known when the request is accepted.

    `id` has 32 hex digits; `created_at` is in Unix seconds.
    """

    id: str
    created_at: int
    model: str
    settings: Shown = {}  # fields of DEFAULTS that the request gave
    metadata: dict[str, str] = {}
    conversation_id: str = ""
    background: bool = False
    stored: bool = True
    sealed: bool = False  # thinking is also sent as encrypted_content

    @property
    def summarised(self) -> bool:
        """Return whether thinking is shown as a summary.

        Clients that ask for a summary read nothing else.
        """
        return summarised(self.settings)


class Outcome(Struct, frozen=True):
    """The outcome of the request so far; `reason` is the finish reason of the answer."""

    status: str = "in_progress"
    output: list[Shown] = []
    usage: Shown | None = None
    error: Shown | None = None
    reason: str = ""
    completed_at: int | None = None
    extras: Shown = {}  # fields beside OpenAI's, about how the answer was produced


def head_of(body: Shown, request: str, created_at: int, *, stored: bool) -> Head:
    """Return the head of an accepted request.

    `body` is the result of schema.read, `request` the request's 32 hex digits.
    """
    return Head(
        id=request,
        created_at=created_at,
        model=body["model"],
        settings=repeated(body),
        metadata=body.get("metadata") or {},
        conversation_id=conversation_id(body),
        background=bool(body.get("background")),
        stored=stored,
        sealed=not stored and encrypted_reasoning.WANTED in (body.get("include") or ()),
    )


def response_object(head: Head, outcome: Outcome) -> Shown:
    reason = REASONS.get(outcome.reason) if outcome.status == "incomplete" else None
    found = {
        "id": f"resp_{head.id}",
        "object": "response",
        "created_at": head.created_at,
        "completed_at": outcome.completed_at,
        "status": outcome.status,
        "background": head.background,
        "conversation": {"id": head.conversation_id} if head.conversation_id else None,
        "error": outcome.error,
        "incomplete_details": {"reason": reason} if reason else None,
        "metadata": head.metadata,
        "model": head.model,
        "output": outcome.output,
        "store": head.stored,
        "usage": outcome.usage,
        **DEFAULTS,
        **head.settings,
    }
    return found | {name: value for name, value in outcome.extras.items() if name not in found}


def of_turn(turn: Turn, items: Iterable[Item]) -> Shown:
    """Return the response object of a turn.

    `items` are those of its output, in their order. A turn of another endpoint is shown as well as
    possible. With `turn.conversation` loaded there is no query.
    """
    settings: Shown = turn.settings if turn.door == Door.RESPONSE else {}
    known = turn.conversation.kind != Kind.THREAD
    head = Head(
        id=turn.pk.hex,
        created_at=int(turn.created_at.timestamp()),
        model=turn.model,
        settings=settings,
        metadata=turn.metadata,
        conversation_id=turn.conversation_id if known else "",
        background=turn.background,
        stored=turn.stored,
    )
    finished = turn.finished_at if turn.status == "completed" else None
    outcome = Outcome(
        status=shown_status(turn),
        output=[shown_item(item.as_openai(), as_summary=head.summarised) for item in items],
        usage=usage_of(parse_usage(turn.usage)),
        error=shown_error(turn.error.get("code"), turn.error.get("message") or "")
        if turn.error
        else None,
        reason=turn.finish_reason,
        completed_at=int(finished.timestamp()) if finished else None,
        extras=turn.extras,
    )
    return response_object(head, outcome)


def shown_status(turn: Turn) -> str:
    """Return OpenAI's status of a turn.

    An answer that an error broke off has failed; one whose caller or process went away is
    incomplete.
    """
    broken = turn.error is not None and turn.error.get("code") not in UNHEARD
    return "failed" if broken and turn.status == TurnStatus.INCOMPLETE else turn.status


def shown_error(code: str | None, message: str) -> Shown:
    """Return OpenAI's error object; `reason` is our own code where OpenAI has none for it."""
    known = CODES.get(code or "", "server_error")
    return {"code": known, "message": message} | (
        {"reason": code} if code and code != known else {}
    )


def usage_of(counted: TokenUsage | None) -> Shown | None:
    """Return token counts in the form of responses."""
    if counted is None:
        return None
    return {
        "input_tokens": counted.prompt,
        "input_tokens_details": {
            "cached_tokens": counted.cached,
            "cache_write_tokens": counted.cache_write,
        },
        "output_tokens": counted.completion,
        "output_tokens_details": {"reasoning_tokens": counted.reasoning},
        "total_tokens": counted.prompt + counted.completion,
    }
