"""The state of a token as the admin shows it: its badge, its filter and its latest changes."""

from collections.abc import Callable
from datetime import datetime, timedelta

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from tokens.models import State, UpstreamToken
from tokens.querysets import IS_RENEWABLE, TokenQuerySet

MAX_LISTED_CHANGES = 20  # changes of a token's state that its page shows


def describe_state(token: UpstreamToken, now: datetime) -> tuple[str, str]:
    """Return a token's present state as the colour and the words of its badge."""
    if token.state == State.DISABLED:
        return "bad", "disabled"
    if token.expires_at is not None and token.expires_at <= now and not token.is_renewable:
        return "off", "expired"
    if token.has_cooldown and token.rests_until is not None:
        return "wait", _describe_cooldown(token.state, token.rests_until, now)
    return "good", "active"


def _describe_cooldown(state: str, until: datetime, now: datetime) -> str:
    """Return for example `resting until 12:05:00`: the time of an end today, else its date."""
    word = state
    if state == State.ACTIVE:
        word = "resting"
    date_form = "j M Y"
    if until - now < timedelta(days=1):
        date_form = "H:i:s"
    return f"{word} until {date_format(timezone.localtime(until), date_form)}"


def filter_expired(tokens: TokenQuerySet) -> TokenQuerySet:
    """Return the tokens whose badge says that they are expired."""
    expired = tokens.filter(expires_at__lte=timezone.now())
    return expired.exclude(IS_RENEWABLE).exclude(state=State.DISABLED)


def filter_resting(tokens: TokenQuerySet, state: State) -> TokenQuerySet:
    """Return the tokens in this state that have a cooldown now."""
    return tokens.filter(state=state, rests_until__gt=timezone.now())


FILTER_OF_STATE: dict[str, Callable[[TokenQuerySet], TokenQuerySet]] = {
    "usable": lambda tokens: tokens.filter_usable(),
    "resting": lambda tokens: filter_resting(tokens, State.ACTIVE),
    "exhausted": lambda tokens: filter_resting(tokens, State.EXHAUSTED),
    "failing": lambda tokens: filter_resting(tokens, State.FAILING),
    "disabled": lambda tokens: tokens.filter(state=State.DISABLED),
    "expired": filter_expired,
}


class StateFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "is"

    def lookups(
        self, request: HttpRequest, model_admin: "admin.ModelAdmin[UpstreamToken]"
    ) -> list[tuple[str, str]]:
        return [(name, name) for name in FILTER_OF_STATE]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[UpstreamToken]
    ) -> QuerySet[UpstreamToken]:
        filter_tokens = FILTER_OF_STATE.get(self.value() or "")
        if filter_tokens is None or not isinstance(queryset, TokenQuerySet):
            return queryset
        return filter_tokens(queryset)


def render_recent_changes(token: UpstreamToken) -> SafeString | str:
    """Return a table of the latest changes of the token's state.

    The id of the request that led to a change finds its usage record.
    """
    rows = [
        (
            date_format(timezone.localtime(change.at), "Y-m-d H:i:s"),
            change.before,
            change.after,
            change.reason,
            change.cause,
        )
        for change in token.transitions.all()[:MAX_LISTED_CHANGES]
    ]
    if not rows:
        return "none"
    body = format_html_join(
        "", "<tr><td>{}</td><td>{} → {}</td><td>{} <code>{}</code></td></tr>", rows
    )
    return format_html('<table class="attempts">{}</table>', body)
