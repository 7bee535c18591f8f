"""The response object: from what is known while it comes to be, and the same from its rows.

`Head` is what stays the same: whose id, and what the request asked for, which the object repeats.
`Outcome` is what has come of it. Source: OpenAI's API reference, "The response object"; the openai
package's types.
"""

from collections.abc import Iterable

from msgspec import Struct

from api.accounting import token_count
from api.accounting.token_count import Usage, as_count
from api.responses import encrypted_reasoning
from api.responses.echoed_fields import DEFAULTS, Shown, repeated, summarised
from api.responses.output_items import shown_item
from api.responses.schema import conversation_id
from conversations.models import Item, Turn
from conversations.models.log import Door, Kind, TurnStatus

REASONS = {
    "length": "max_output_tokens",
    "content_filter": "content_filter",
}  # why an answer is incomplete
UNHEARD = ("abandoned", "interrupted")  # codes of turns whose caller or process went away
CODES = {  # of errors, as OpenAI's object knows them; every other one is a server_error
    "rate_limit_exceeded": "rate_limit_exceeded",
    "invalid_value": "invalid_prompt",
    "invalid_type": "invalid_prompt",
    "context_length_exceeded": "invalid_prompt",
}


class Head(Struct, frozen=True):
    """What is known when the request is accepted. `id`: its 32 hex digits; `created_at` in Unix
    seconds.
    """

    id: str
    created_at: int
    model: str
    settings: Shown = {}  # the fields of DEFAULTS that the request gave
    metadata: dict[str, str] = {}
    conversation_id: str = ""
    background: bool = False
    stored: bool = True
    sealed: bool = False  # thinking comes in a form that can be brought back

    @property
    def summarised(self) -> bool:
        """Whether thinking is shown as a summary: clients that ask for one read nothing else."""
        return summarised(self.settings)


class Outcome(Struct, frozen=True):
    """What has come of the request so far. `reason`: the finish reason of the answer."""

    status: str = "in_progress"
    output: list[Shown] = []
    usage: Shown | None = None
    error: Shown | None = None
    reason: str = ""
    completed_at: int | None = None
    extras: Shown = {}  # how the answer was thought up: fields beside OpenAI's


def head_of(body: Shown, request: str, created_at: int, *, stored: bool) -> Head:
    """The head of an accepted request; `body` as schema.read gives it, `request` its 32 hex
    digits.
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
    """The object of a turn that came by the door of responses (any other is shown as well as it can
    be); `items` are those of its output, in their order; with `turn.conversation` at hand it costs
    no query.
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
        usage=usage_of(token_count.reported(turn.usage), turn.usage),
        error=shown_error(turn.error.get("code"), turn.error.get("message") or "")
        if turn.error
        else None,
        reason=turn.finish_reason,
        completed_at=int(finished.timestamp()) if finished else None,
        extras=turn.extras,
    )
    return response_object(head, outcome)


def shown_status(turn: Turn) -> str:
    """OpenAI's word: an answer that an error broke off has failed; one that nobody waited for is
    incomplete.
    """
    broken = turn.error is not None and turn.error.get("code") not in UNHEARD
    return "failed" if broken and turn.status == TurnStatus.INCOMPLETE else turn.status


def shown_error(code: str | None, message: str) -> Shown:
    """`reason` is our own code, where OpenAI's list has none for it."""
    known = CODES.get(code or "", "server_error")
    return {"code": known, "message": message} | (
        {"reason": code} if code and code != known else {}
    )


def usage_of(counted: Usage | None, given: Shown | None = None) -> Shown | None:
    """Token counts in the form of responses; `given`: the upstream's own figures."""
    if counted is None:
        return None
    details = (given or {}).get("prompt_tokens_details")
    written = as_count(details.get("cache_write_tokens")) if isinstance(details, dict) else None
    return {
        "input_tokens": counted.prompt,
        "input_tokens_details": {
            "cached_tokens": counted.cached,
            "cache_write_tokens": written or 0,
        },
        "output_tokens": counted.completion,
        "output_tokens_details": {"reasoning_tokens": counted.reasoning},
        "total_tokens": counted.prompt + counted.completion,
    }
