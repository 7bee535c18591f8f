"""Providers that need attention: open breakers, unconfirmed addresses, no model."""

from collections.abc import Iterator, Sequence

from django.urls import reverse
from django.utils.translation import gettext as _

from providers.models import ChatModel
from proxysite.desk.overview.attention.attention_items import BAD, WAIT, AttentionItem, Button
from proxysite.desk.overview.pool_health import ProviderCard


def find_provider_items(
    cards: Sequence[ProviderCard], *, may_change: bool, may_confirm: bool
) -> Iterator[AttentionItem]:
    """Yield the items about providers that are switched on."""
    enabled = [card for card in cards if card.provider.enabled]
    for card in enabled:
        if card.breaker is not None:
            yield make_breaker_item(card, may_change=may_change)
        if card.provider.set_aside_reason:
            yield make_set_aside_item(card, may_confirm=may_confirm)
    yield from find_providers_without_models(enabled)


def make_breaker_item(card: ProviderCard, *, may_change: bool) -> AttentionItem:
    """Return the item of a provider that is not asked now, or only by the next request."""
    name = {"provider": card.provider.name, "model": card.blocked_model}
    if card.is_half_open:
        text = _("%(provider)s failed: the next request finds out whether it works again.") % name
    elif card.blocked_model:
        text = _("%(provider)s is not asked for the model %(model)s.") % name
    elif card.is_open_for_few:
        text = _("%(provider)s is not asked for the callers whose requests failed.") % name
    else:
        text = _("%(provider)s is not asked: its circuit breaker is open.") % name
    assert card.breaker is not None  # noqa: S101
    at, label = card.breaker.open_until, _("until")
    if card.is_half_open:
        at, label = card.breaker.opened_at, _("since")
    buttons = [Button(_("Look at it"), card.address)]
    if may_change and card.ask_again_address:
        again = Button(_("Ask again now"), card.ask_again_address, {"provider": card.provider.pk})
        buttons.insert(0, again)
    return AttentionItem("breaker", BAD, text, card.breaker.reason, at, label, tuple(buttons))


def make_set_aside_item(card: ProviderCard, *, may_confirm: bool) -> AttentionItem:
    text = _("%(provider)s is set aside: confirm its address.") % {"provider": card.provider.name}
    page = "admin:providers_provider_confirm" if may_confirm else "admin:providers_provider_change"
    button = Button(_("Look at it"), reverse(page, args=[card.provider.pk]))
    return AttentionItem("set aside", BAD, text, card.provider.set_aside_reason, buttons=(button,))


def find_providers_without_models(cards: Sequence[ProviderCard]) -> Iterator[AttentionItem]:
    """Yield an item for each provider that no model uses: its tokens are of no use."""
    used = set(ChatModel.objects.order_by().values_list("provider_id", flat=True).distinct())
    for card in cards:
        if card.provider.pk in used:
            continue
        text = _("%(provider)s has no model: no request can reach it.") % {
            "provider": card.provider.name
        }
        yield AttentionItem(
            "no model", WAIT, text, buttons=(Button(_("Add models"), card.address),)
        )
