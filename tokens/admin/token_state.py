"""The state of a token as the admin shows it: the colour and the words of its badge."""

from datetime import datetime, timedelta

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from tokens.models import State, UpstreamToken


def describe_state(token: UpstreamToken, now: datetime) -> tuple[str, str]:
    """Return a token's present state as the colour and the words of its badge."""
    if token.state == State.DISABLED:
        return "bad", name_state("disabled")
    if token.expires_at is not None and token.expires_at <= now and not token.is_renewable:
        return "off", name_state("expired")
    if token.has_cooldown and token.rests_until is not None:
        return "wait", _describe_cooldown(token.state, token.rests_until, now)
    return "good", name_state("active")


def _describe_cooldown(state: str, until: datetime, now: datetime) -> str:
    """Return for example `resting until 12:05:00`: the time of an end today, else its date."""
    word = state
    if state == State.ACTIVE:
        word = "resting"
    date_form = "j M Y"
    if until - now < timedelta(days=1):
        date_form = "H:i:s"
    end = date_format(timezone.localtime(until), date_form)
    return _("%(state)s until %(end)s") % {"state": name_state(word), "end": end}


def name_state(state: str) -> str:
    """Return the word for a state of a token, in the reader's language."""
    names = {
        "active": pgettext("token", "active"),
        "resting": pgettext("token", "resting"),
        "exhausted": pgettext("token", "exhausted"),
        "failing": pgettext("token", "failing"),
        "disabled": pgettext("token", "disabled"),
        "expired": pgettext("token", "expired"),
        "usable": pgettext("token", "usable"),
        "struck": pgettext("token", "with strikes"),
    }
    return names.get(state, state)
