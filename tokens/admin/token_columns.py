"""The columns of the list of tokens: state with its reason, success rate, last check."""

from django.contrib import admin
from django.db.models import F
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from providers.admin.big_tables import NO_VALUE, render_badge
from providers.admin.page_times import render_time
from tokens.admin.token_filters import NAME_BY_REASON
from tokens.admin.token_state import describe_state
from tokens.maintenance.check_result import OUT_OF_QUOTA, RATE_LIMITED, UNPROVEN, WORKS
from tokens.models import TokenCheck, UpstreamToken
from tokens.token_filter import find_reason_group

SHORT_REASON_LENGTH = 36
GOOD_SHARE = 0.9  # of requests that succeed
FAIR_SHARE = 0.5
COLOUR_BY_OUTCOME = {
    WORKS: "good",
    UNPROVEN: "off",
    RATE_LIMITED: "wait",
    OUT_OF_QUOTA: "wait",
}  # the others are bad


class TokenColumns:
    """A mixin for the admin of tokens."""

    @admin.display(description=gettext_lazy("token"))
    def token(self, row: UpstreamToken) -> SafeString | str:
        """Return the mask of the secret, and below it the label."""
        if not row.label:
            return row.masked
        return format_html('{}<span class="quiet below">{}</span>', row.masked, row.label)

    @admin.display(description=gettext_lazy("state"))
    def state_badge(self, token: UpstreamToken) -> SafeString:
        """Return the badge and, unless all is well, the reason."""
        if token.provider.set_aside_reason:
            address = reverse("admin:providers_provider_confirm", args=[token.provider_id])
            return format_html(
                '{} <a class="quiet" href="{}">{}</a>',
                render_badge("bad", _("set aside")),
                address,
                _("why"),
            )
        colour, words = describe_state(token, timezone.now())
        detail: object = render_reason(token.reason)
        if colour == "good":
            detail = render_strikes(token.strikes)
        return format_html("{} {}", render_badge(colour, words), detail)

    @admin.display(description=gettext_lazy("kind"))
    def kind_and_expiry(self, token: UpstreamToken) -> SafeString | str:
        """Return the kind of the token, and its expiry if known."""
        if token.expires_at is None:
            return token.get_kind_display()
        last_day = date_format(timezone.localtime(token.expires_at), "Y-m-d")
        return format_html(
            '{}<span class="quiet below">{}</span>',
            token.get_kind_display(),
            _("until %(day)s") % {"day": last_day},
        )

    @admin.display(description=gettext_lazy("success"))
    def success_rate(self, token: UpstreamToken) -> SafeString | str:
        """Return the share of its requests that succeeded, since it was imported."""
        if not token.requests:
            return NO_VALUE
        share = max(token.requests - token.failures, 0) / token.requests
        colour = "good" if share >= GOOD_SHARE else "wait" if share >= FAIR_SHARE else "bad"
        # rounded down: 100 % only where none failed
        return format_html(
            '<span class="badge badge-{}" title="{}">{} %</span>'
            '<span class="quiet below">{}</span>',
            colour,
            _("since it was imported"),
            int(share * 100),
            _("of %(count)s") % {"count": f"{token.requests:,}"},
        )

    # tokens that were never used come after those that were used lately
    @admin.display(
        description=gettext_lazy("last used"), ordering=F("last_used_at").asc(nulls_first=True)
    )
    def last_used(self, token: UpstreamToken) -> SafeString | str:
        return render_time(token.last_used_at, is_relative=True)

    @admin.display(description=gettext_lazy("last check"))
    def last_checked(self, token: UpstreamToken) -> SafeString | str:
        """Return the result of the last check, its time, and how long it took."""
        return render_check(find_last_check(token))


def find_last_check(token: UpstreamToken) -> TokenCheck | None:
    """Return the token's last check; None when it was never checked."""
    check: TokenCheck | None = getattr(token, "last_check", None)
    return check


def render_check(check: TokenCheck | None) -> SafeString | str:
    if check is None:
        return NO_VALUE
    title = check.reason
    if check.milliseconds is not None:
        title = f"{check.milliseconds:,} ms {title}".strip()
    badge = render_badge(COLOUR_BY_OUTCOME.get(check.outcome, "bad"), name_outcome(check.outcome))
    return format_html(
        '<span title="{}">{}</span><span class="quiet below">{}</span>',
        title,
        badge,
        render_time(check.at, is_relative=True),
    )


def name_outcome(outcome: str) -> str:
    """Return the outcome of a check or of another action, in the reader's language."""
    names = {
        "works": _("works"),
        "rejected": _("rejected"),
        "unproven": _("could not be proved"),
        "rate limited": _("rate limited"),
        "out of quota": _("out of quota"),
        "provider failed": _("provider failed"),
        "unreadable": _("unreadable"),
        "not checked": _("not checked: its provider is not asked"),
        "done": _("done"),
        "unchanged": _("unchanged"),
        "moved": _("moved"),
        "there already": _("there already"),
        "known there": _("its secret is known there"),
        "of an account": _("belongs to an account"),
        "renewed in another way": _("is renewed in another way there"),
    }
    return names.get(outcome, outcome)


def render_reason(reason: str) -> SafeString | str:
    """Return a reason in short; the whole one is its title, and is shown when it has the focus."""
    if not reason:
        return ""
    group = find_reason_group(reason)
    text = reason
    if len(reason) > SHORT_REASON_LENGTH:
        text = f"{reason[:SHORT_REASON_LENGTH].rstrip()}…"
    if group == "unreadable":
        text = str(NAME_BY_REASON[group])
    if text == reason:
        return format_html('<span class="quiet reason">{}</span>', text)
    return format_html(
        '<details class="reason quiet"><summary title="{}">{}</summary>{}</details>',
        reason,
        text,
        reason,
    )


def render_strikes(strikes: int) -> SafeString | str:
    """Return for example `2 strikes`, or an empty string for none."""
    if not strikes:
        return ""
    text = ngettext("%(count)d strike", "%(count)d strikes", strikes) % {"count": strikes}
    return format_html('<span class="quiet">{}</span>', text)
