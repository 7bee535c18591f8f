"""The page of one request: its caller, its attempts, its outcome with the reason, its cost."""

from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from api.admin.price_links import build_add_address, render_price_link
from api.admin.requests.attempts_table import render_attempts_table
from api.admin.requests.record_texts import (
    describe_cost,
    describe_failure,
    describe_origin,
    render_status,
)
from api.admin.requests.references import load_names, render_name
from api.admin.requests.waterfall import format_duration, render_waterfall
from api.models import Status, UsageRecord
from api.pricing.price_texts import render_micro_usd
from conversations.models import Turn
from providers.admin.big_tables import NO_VALUE
from providers.admin.page_times import render_time

Fact = tuple[str, object]


def build_record_context(request: HttpRequest, record: UsageRecord) -> dict[str, Any]:
    """Return the context of a request's page."""
    return {
        "record": record,
        "status": render_status(record),
        "failure": describe_failure(record),
        "origin": describe_origin(record),
        "facts": list_facts(request, record),
        "times": list_times(record),
        "tokens": list_tokens(record),
        "costs": list_costs(request, record),
        "waterfall": render_waterfall(record),
        "attempts": render_attempts_table(record.attempts),
        "explanation": explain_status(record),
    }


def explain_status(record: UsageRecord) -> str:
    """Return in a sentence how a request ended that was not answered whole."""
    sentences = {
        Status.ERROR: _("It failed before the first byte of an answer."),
        Status.TRUNCATED: _("The upstream failed in the middle of the answer."),
        Status.ABANDONED: _("The caller closed the connection before the end."),
        Status.INTERRUPTED: _("Our process ended while the request ran."),
        Status.REFUSED: _("A limit refused it; nothing was sent to an upstream."),
    }
    return sentences.get(Status(record.status), "")


def list_facts(request: HttpRequest, record: UsageRecord) -> list[Fact]:
    """Return the facts about a request: its time, endpoint, model, client, and its owner."""
    names = load_names([record])
    kinds = (
        ("user", _("User")),
        ("key", _("API key")),
        ("team", _("Team")),
        ("provider", _("Provider")),
        ("token", _("Token")),
    )
    facts: list[Fact] = [
        (_("Started"), render_time(record.started_at)),
        (_("Endpoint"), record.endpoint or NO_VALUE),
        (_("Model"), record.model or NO_VALUE),
        (_("Streamed"), _("yes") if record.stream else _("no")),
        (_("Client"), record.client or NO_VALUE),
        *((label, render_name(names, kind, record)) for kind, label in kinds),
    ]
    if record.request_count > 1:
        facts.append((_("Requests that this row stands for"), record.request_count))
    if record.end_user_id is not None:
        facts.append((_("End user number"), record.end_user_id))
    link = render_conversation_link(request, record)
    if link:
        facts.append((_("Conversation"), link))
    return facts


def render_conversation_link(request: HttpRequest, record: UsageRecord) -> SafeString | str:
    """Return a link to the conversation with this turn, for those who may see conversations."""
    if not request.user.has_perm("conversations.view_conversation"):
        return ""
    turn = Turn.objects.filter(pk=record.pk).only("conversation_id", "number").first()
    if turn is None:
        return ""
    address = reverse("admin:conversations_conversation_change", args=[turn.conversation_id])
    link = '<a href="{}?before={}#turn-{}">{}</a>'
    last_shown = turn.number + 1
    return format_html(link, address, last_shown, turn.number, turn.conversation_id)


def list_times(record: UsageRecord) -> list[Fact]:
    """Return how long each phase took."""
    phases = (
        (_("In our queue"), record.queue_ms),
        (_("Connecting"), record.connect_ms),
        (_("First byte after"), record.first_byte_ms),
        (_("In all"), record.total_ms),
    )
    return [(name, format_duration(value)) for name, value in phases if value is not None]


def list_tokens(record: UsageRecord) -> list[Fact]:
    """Return the counted tokens, and who counted them."""
    counter = _("this gateway (estimated)") if record.estimated else _("the upstream")
    return [
        (_("Prompt"), f"{record.prompt_tokens:,}"),
        (_("of them cached"), f"{record.cached_tokens:,}"),
        (_("of them written to the cache"), f"{record.cache_write_tokens:,}"),
        (_("Completion"), f"{record.completion_tokens:,}"),
        (_("of them reasoning"), f"{record.reasoning_tokens:,}"),
        (_("Counted by"), counter),
    ]


def list_costs(request: HttpRequest, record: UsageRecord) -> list[Fact]:
    """Return the cost, the price behind it, and the way to a price where there is none."""
    facts: list[Fact] = [(_("Cost"), describe_cost(record))]
    if record.price_id is not None:
        facts.append((_("Price"), render_price(record)))
    elif record.cost_micro_usd is None and record.status != Status.REFUSED:
        link = render_add_price_link(request, record)
        if link:
            facts.append((_("Price"), link))
    if record.reported_cost_micro_usd is not None:
        facts.append(
            (_("As the provider reported it"), render_micro_usd(record.reported_cost_micro_usd))
        )
    return facts


def render_price(record: UsageRecord) -> SafeString | str:
    if record.price is None:  # the price was joined, and is deleted
        return _("%(name)s (deleted)") % {"name": record.price_id}
    return render_price_link(record.price)


def render_add_price_link(request: HttpRequest, record: UsageRecord) -> SafeString | str:
    """Return a link to the form for the missing price, filled with the upstream's model."""
    if record.provider_id is None or not request.user.has_perm("api.add_price"):
        return ""
    answered = [attempt for attempt in record.attempts if attempt.get("model")]
    values: dict[str, object] = {"provider": record.provider_id}
    if answered:
        values["upstream_model"] = answered[-1]["model"]
    return format_html('<a href="{}">{}</a>', build_add_address(**values), _("Price this model"))
