"""The response object, made while the answer comes in or from its rows.

`ResponseHead` is the part that does not change: ids, and the request fields that the object
repeats. `ResponseOutcome` is the part that the answer brings. Source: OpenAI's API reference, "The
response object"; the types of the openai package.
"""

from collections.abc import Iterable

from msgspec import Struct

from api.responses.output.echoed_fields import ECHOED_DEFAULTS, echo_fields, is_summary_requested
from api.responses.output.output_items import render_output_item
from api.responses.request import encrypted_reasoning
from api.responses.request.schema import find_conversation_id
from conversations.messages.items_to_chat import SAME_NAMES
from conversations.messages.tool_names import ToolNames
from conversations.models import Item, Turn
from conversations.models.log import ConversationKind, TurnEndpoint, TurnStatus
from providers.protocol.json_types import JsonObject
from providers.protocol.usage_meter import TokenUsage, parse_usage

INCOMPLETE_REASONS = {  # finish reason -> reason of an incomplete response
    "length": "max_output_tokens",
    "content_filter": "content_filter",
}
# Error codes of turns whose caller or process went away.
ABANDONED_CODES = ("abandoned", "interrupted")
OPENAI_ERROR_CODES = {  # our error code -> OpenAI's; every other one is a server_error
    "rate_limit_exceeded": "rate_limit_exceeded",
    "invalid_value": "invalid_prompt",
    "invalid_type": "invalid_prompt",
    "context_length_exceeded": "invalid_prompt",
}


class ResponseHead(Struct, frozen=True):
    """The facts known when the request is accepted.

    `id` has 32 hex digits; `created_at` is in Unix seconds.
    """

    id: str
    created_at: int
    model: str
    settings: JsonObject = {}  # fields of ECHOED_DEFAULTS that the request gave
    metadata: dict[str, str] = {}
    conversation_id: str = ""
    background: bool = False
    stored: bool = True
    wants_encrypted_content: bool = False  # thinking is also sent as encrypted_content
    tool_names: ToolNames = SAME_NAMES

    @property
    def wants_summary(self) -> bool:
        """Return whether thinking is shown as a summary.

        Clients that ask for a summary read nothing else.
        """
        return is_summary_requested(self.settings)


class ResponseOutcome(Struct, frozen=True):
    """The outcome of the request so far; `finish_reason` is the finish reason of the answer."""

    status: str = "in_progress"
    output: list[JsonObject] = []
    usage: JsonObject | None = None
    error: JsonObject | None = None
    finish_reason: str = ""
    completed_at: int | None = None
    extra_fields: JsonObject = {}  # fields beside OpenAI's, about how the answer was produced


def build_response_head(
    body: JsonObject,
    turn_hex: str,
    created_at: int,
    *,
    stored: bool,
    tool_names: ToolNames = SAME_NAMES,
) -> ResponseHead:
    """Return the head of an accepted request.

    `body` is the result of `read_response_body`, `turn_hex` the request's 32 hex digits. The calls
    of the answer mean tools of `tool_names`.
    """
    include_values = body.get("include") or ()
    return ResponseHead(
        id=turn_hex,
        created_at=created_at,
        model=body["model"],
        settings=echo_fields(body),
        metadata=body.get("metadata") or {},
        conversation_id=find_conversation_id(body),
        background=bool(body.get("background")),
        stored=stored,
        wants_encrypted_content=not stored and encrypted_reasoning.INCLUDE_VALUE in include_values,
        tool_names=tool_names,
    )


def build_response_object(head: ResponseHead, outcome: ResponseOutcome) -> JsonObject:
    """Return the response object; its own fields win over extras of the same name."""
    incomplete_details = None
    if outcome.status == "incomplete" and outcome.finish_reason in INCOMPLETE_REASONS:
        incomplete_details = {"reason": INCOMPLETE_REASONS[outcome.finish_reason]}
    response = {
        "id": f"resp_{head.id}",
        "object": "response",
        "created_at": head.created_at,
        "completed_at": outcome.completed_at,
        "status": outcome.status,
        "background": head.background,
        "conversation": {"id": head.conversation_id} if head.conversation_id else None,
        "error": outcome.error,
        "incomplete_details": incomplete_details,
        "metadata": head.metadata,
        "model": head.model,
        "output": outcome.output,
        "store": head.stored,
        "usage": outcome.usage,
        **ECHOED_DEFAULTS,
        **head.settings,
    }
    for name, value in outcome.extra_fields.items():
        response.setdefault(name, value)
    return response


def build_turn_response(turn: Turn, items: Iterable[Item]) -> JsonObject:
    """Return the response object of a turn.

    `items` are those of its output, in their order. A turn of another endpoint is shown as well as
    possible. With `turn.conversation` loaded there is no query.
    """
    head = build_turn_head(turn)
    finished_at = turn.finished_at if turn.status == "completed" else None
    outcome = ResponseOutcome(
        status=render_turn_status(turn),
        output=[
            render_output_item(item.as_openai(), as_summary=head.wants_summary) for item in items
        ],
        usage=render_usage(parse_usage(turn.usage)),
        error=render_turn_error(turn),
        finish_reason=turn.finish_reason,
        completed_at=int(finished_at.timestamp()) if finished_at else None,
        extra_fields=turn.extra_fields,
    )
    return build_response_object(head, outcome)


def build_turn_head(turn: Turn) -> ResponseHead:
    settings: JsonObject = turn.settings if turn.endpoint == TurnEndpoint.RESPONSE else {}
    is_thread = turn.conversation.kind == ConversationKind.THREAD  # its id is not public
    return ResponseHead(
        id=turn.pk.hex,
        created_at=int(turn.created_at.timestamp()),
        model=turn.model,
        settings=settings,
        metadata=turn.metadata,
        conversation_id="" if is_thread else turn.conversation_id,
        background=turn.background,
        stored=turn.stored,
    )


def render_turn_status(turn: Turn) -> str:
    """Return OpenAI's status of a turn.

    An answer that an error broke off has failed; one whose caller or process went away is
    incomplete.
    """
    is_broken = turn.error is not None and turn.error.get("code") not in ABANDONED_CODES
    if is_broken and turn.status == TurnStatus.INCOMPLETE:
        return "failed"
    return turn.status


def render_turn_error(turn: Turn) -> JsonObject | None:
    if not turn.error:
        return None
    return render_error_object(turn.error.get("code"), turn.error.get("message") or "")


def render_error_object(code: str | None, message: str) -> JsonObject:
    """Return OpenAI's error object; `reason` is our own code where OpenAI has none for it."""
    openai_code = OPENAI_ERROR_CODES.get(code or "", "server_error")
    error = {"code": openai_code, "message": message}
    if code and code != openai_code:
        error["reason"] = code
    return error


def render_usage(usage: TokenUsage | None) -> JsonObject | None:
    """Return token counts in the form of responses."""
    if usage is None:
        return None
    return {
        "input_tokens": usage.prompt,
        "input_tokens_details": {
            "cached_tokens": usage.cached,
            "cache_write_tokens": usage.cache_write,
        },
        "output_tokens": usage.completion,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.prompt + usage.completion,
    }
