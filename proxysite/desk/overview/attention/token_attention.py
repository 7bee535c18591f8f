"""Tokens and accounts that need attention, grouped by provider and cause."""

from collections.abc import Iterator, Sequence
from datetime import timedelta

from django.db.models import Count, Max, Min, Q
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from proxysite.desk.overview.attention.attention_items import BAD, WAIT, AttentionItem, Button
from proxysite.desk.overview.pool_health import ProviderCard
from tokens.models import State, UpstreamAccount, UpstreamToken
from tokens.querysets import DISABLED_BY_AUTH, IS_RENEWABLE, UNREADABLE_REASON

EXPIRY_WARNING = timedelta(days=1)
AUTH = "auth"
UNREADABLE = "unreadable"
EXHAUSTED = "exhausted"
# groups of tokens that a button acts on: their condition and their filter in the list
TOKEN_GROUPS: dict[str, Q] = {
    AUTH: DISABLED_BY_AUTH,
    UNREADABLE: Q(state=State.DISABLED, reason=UNREADABLE_REASON),
    EXHAUSTED: Q(state=State.EXHAUSTED),
}


def find_token_items(cards: Sequence[ProviderCard], *, may_change: bool) -> Iterator[AttentionItem]:
    """Yield the items about pools of tokens; buttons that act need `may_change`."""
    for card in cards:
        yield from find_empty_pools(card)
    cards_by_id = {card.provider.pk: card for card in cards if card.provider.enabled}
    yield from find_disabled_tokens(cards_by_id, may_change=may_change)
    yield from find_exhausted_tokens(cards_by_id, may_change=may_change)
    yield from find_ending_tokens(cards_by_id)
    yield from find_failed_accounts(cards_by_id)


def find_empty_pools(card: ProviderCard) -> Iterator[AttentionItem]:
    """Yield an item for a provider without any token that can be used now."""
    if not card.is_unusable:
        return
    name = {"provider": card.provider.name}
    if card.token_counts["total"]:
        text = _("No token of %(provider)s can be used now.") % name
        yield AttentionItem(
            "unusable", BAD, text, buttons=(Button(_("Look at them"), card.token_list_address),)
        )
        return
    text = _("%(provider)s has no token: its models cannot answer.") % name
    yield AttentionItem("empty", WAIT, text, buttons=(make_import_button(card),))


def make_import_button(card: ProviderCard) -> Button:
    """Return the link to the page on which tokens of a provider are imported."""
    address = reverse("admin:tokens_upstreamtoken_import")
    return Button(_("Import tokens"), f"{address}?provider={card.provider.pk}")


def make_deed_buttons(
    card: ProviderCard, group: str, deeds: Sequence[str], *, may_change: bool
) -> tuple[Button, ...]:
    """Return the buttons that act on a group of a provider's tokens."""
    labels = {"check": _("Check them"), "reset": _("Reset them")}
    look = Button(_("Look at them"), f"{card.token_list_address}&is={find_filter(group)}")
    if not may_change:
        return (look,)
    return (
        *(
            Button(
                labels[deed],
                reverse("overview-tokens"),
                {"provider": card.provider.pk, "group": group, "deed": deed},
            )
            for deed in deeds
        ),
        look,
    )


def find_filter(group: str) -> str:
    return "exhausted" if group == EXHAUSTED else "disabled"


# --- groups ---------------------------------------------------------------------------------------
def find_disabled_tokens(
    cards: dict[int, ProviderCard], *, may_change: bool
) -> Iterator[AttentionItem]:
    """Yield an item for the tokens of a provider that were disabled by themselves."""
    disabled = UpstreamToken.objects.filter(state=State.DISABLED)
    for group in (AUTH, UNREADABLE):
        rows = disabled.filter(TOKEN_GROUPS[group]).order_by("provider__name")
        for row in rows.values("provider_id").annotate(
            count=Count("pk"), latest=Max("last_failure_at"), a_reason=Max("reason")
        ):
            card = cards.get(row["provider_id"])
            if card is None:
                continue
            text = ngettext(
                "%(count)s token of %(provider)s is disabled.",
                "%(count)s tokens of %(provider)s are disabled.",
                row["count"],
            ) % {"count": row["count"], "provider": card.provider.name}
            buttons = make_deed_buttons(card, group, ("check", "reset"), may_change=may_change)
            yield AttentionItem(
                group, WAIT, text, row["a_reason"], row["latest"], _("last failure"), buttons
            )


def find_exhausted_tokens(
    cards: dict[int, ProviderCard], *, may_change: bool
) -> Iterator[AttentionItem]:
    """Yield an item for the tokens of a provider whose quota is used up."""
    now = timezone.now()
    exhausted = UpstreamToken.objects.filter(TOKEN_GROUPS[EXHAUSTED], rests_until__gt=now)
    for row in (
        exhausted.order_by("provider__name")
        .values("provider_id")
        .annotate(count=Count("pk"), first=Min("rests_until"), a_reason=Max("reason"))
    ):
        card = cards.get(row["provider_id"])
        if card is None:
            continue
        text = ngettext(
            "%(count)s token of %(provider)s has used up its quota.",
            "%(count)s tokens of %(provider)s have used up their quota.",
            row["count"],
        ) % {"count": row["count"], "provider": card.provider.name}
        buttons = make_deed_buttons(card, EXHAUSTED, ("check", "reset"), may_change=may_change)
        yield AttentionItem(
            EXHAUSTED, WAIT, text, row["a_reason"], row["first"], _("next try"), buttons
        )


def find_ending_tokens(cards: dict[int, ProviderCard]) -> Iterator[AttentionItem]:
    """Yield items for tokens that have expired or soon will, and are not renewed by themselves."""
    now = timezone.now()
    enabled = UpstreamToken.objects.exclude(state=State.DISABLED).exclude(IS_RENEWABLE)
    ending = enabled.filter(expires_at__lte=now + EXPIRY_WARNING)
    for row in (
        ending.order_by("provider__name")
        .values("provider_id")
        .annotate(
            expired=Count("pk", filter=Q(expires_at__lte=now)),
            soon=Count("pk", filter=Q(expires_at__gt=now)),
            first=Min("expires_at", filter=Q(expires_at__gt=now)),
            latest=Max("expires_at", filter=Q(expires_at__lte=now)),
        )
    ):
        card = cards.get(row["provider_id"])
        if card is None:
            continue
        name = card.provider.name
        if row["expired"]:
            text = ngettext(
                "%(count)s token of %(provider)s has expired: replace or delete it.",
                "%(count)s tokens of %(provider)s have expired: replace or delete them.",
                row["expired"],
            ) % {"count": row["expired"], "provider": name}
            look = Button(_("Look at them"), f"{card.token_list_address}&is=expired")
            buttons = (look, make_import_button(card))
            yield AttentionItem("expired", WAIT, text, "", row["latest"], _("last one"), buttons)
        if row["soon"]:
            text = ngettext(
                "%(count)s token of %(provider)s expires within a day.",
                "%(count)s tokens of %(provider)s expire within a day.",
                row["soon"],
            ) % {"count": row["soon"], "provider": name}
            yield AttentionItem(
                "expiring",
                WAIT,
                text,
                "",
                row["first"],
                _("first one"),
                (make_import_button(card),),
            )


def find_failed_accounts(cards: dict[int, ProviderCard]) -> Iterator[AttentionItem]:
    """Yield an item for the accounts of a provider that cannot sign in."""
    failed = UpstreamAccount.objects.filter(enabled=True, failures__gt=0).exclude(reason="")
    for row in (
        failed.order_by("provider__name")
        .values("provider_id")
        .annotate(count=Count("pk"), a_reason=Max("reason"))
    ):
        card = cards.get(row["provider_id"])
        if card is None:
            continue
        text = ngettext(
            "%(count)s account of %(provider)s cannot sign in.",
            "%(count)s accounts of %(provider)s cannot sign in.",
            row["count"],
        ) % {"count": row["count"], "provider": card.provider.name}
        address = reverse("admin:tokens_upstreamaccount_changelist")
        button = Button(_("Look at them"), f"{address}?provider__id__exact={card.provider.pk}")
        yield AttentionItem("accounts", WAIT, text, row["a_reason"], buttons=(button,))
