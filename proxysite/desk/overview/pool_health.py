"""The pools of the overview: each provider with its tokens by state and its circuit breaker."""

from collections.abc import Iterable
from dataclasses import dataclass

from django.urls import reverse
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from providers import registry
from providers.admin.page_times import render_time
from providers.choices import Mode
from providers.models import Provider
from proxysite.desk.page_access import find_address
from tokens import provider_counts
from tokens.models import BreakerState, UpstreamToken
from tokens.outcomes.breaker import SEVERAL_CALLERS
from tokens.outcomes.breaker_sharing import find_open_breakers

STATE_LABELS: dict[str, str | Promise] = {
    "active": _("active"),
    "resting": _("resting"),
    "exhausted": _("quota used up"),
    "failing": _("failing"),
    "disabled": _("disabled"),
    "expired": _("expired"),
}
STATE_FILTERS = {"active": "usable"}  # the filter of the list of tokens, where it differs
STATE_TONES = {"active": "good", "disabled": "bad", "expired": "bad"}


@dataclass(frozen=True, slots=True)
class TokenGroup:
    """The tokens of a provider in one state, with a link to them."""

    label: str | Promise
    count: int
    address: str
    tone: str


@dataclass(frozen=True, slots=True)
class ProviderCard:
    """One provider, as the page shows it."""

    provider: Provider
    label: str
    modes: tuple[str, ...]
    token_counts: provider_counts.StateCounts
    breaker: BreakerState | None = None  # while it is open or half-open

    @property
    def address(self) -> str:
        return reverse("admin:providers_provider_change", args=[self.provider.pk])

    @property
    def token_list_address(self) -> str:
        address = reverse("admin:tokens_upstreamtoken_changelist")
        return f"{address}?provider__id__exact={self.provider.pk}"

    @property
    def token_groups(self) -> list[TokenGroup]:
        """Return the tokens by state, states without any left out."""
        return [
            TokenGroup(
                STATE_LABELS[state],
                self.token_counts[state],
                f"{self.token_list_address}&is={STATE_FILTERS.get(state, state)}",
                STATE_TONES.get(state, "wait"),
            )
            for state in provider_counts.TOKEN_STATES
            if self.token_counts[state]
        ]

    @property
    def other_mode(self) -> str:
        """Return the mode that a person can switch to, or an empty string."""
        return next((mode for mode in self.modes if mode != self.provider.mode), "")

    @property
    def is_guest(self) -> bool:
        return self.provider.mode == Mode.GUEST

    @property
    def uses_tokens(self) -> bool:
        """Return whether it is called with tokens of its pool."""
        return self.provider.enabled and self.provider.needs_token and not self.is_guest

    @property
    def is_unusable(self) -> bool:
        """Return whether none of its tokens can be used now."""
        return self.uses_tokens and not self.token_counts["active"]

    # --- the circuit breaker ----------------------------------------------------------------------
    @property
    def is_half_open(self) -> bool:
        """Return whether the next request finds out if the provider works again."""
        until = self.breaker.open_until if self.breaker else None
        return until is not None and until <= timezone.now()

    @property
    def shown_breaker_time(self) -> SafeString | str:
        """Return until when it is not asked; while it is half-open since when it fails."""
        if self.breaker is None:
            return ""
        return render_time(
            self.breaker.opened_at if self.is_half_open else self.breaker.open_until,
            is_relative=True,
        )

    @property
    def blocked_model(self) -> str:
        """Return the one model that the breaker is open for; empty for all models."""
        models = self.breaker.asked_models if self.breaker else []
        return str(models[0]) if len(models) == 1 else ""

    @property
    def is_open_for_few(self) -> bool:
        """Return whether the breaker is open for the callers alone whose requests failed."""
        callers = self.breaker.callers if self.breaker else []
        return not self.blocked_model and 0 < len(callers) < SEVERAL_CALLERS

    @property
    def ask_again_address(self) -> str:
        """Return the address that closes the breaker; empty where there is no such page."""
        return find_address("admin:providers_provider_ask_again", args=(self.provider.pk,))


def load_cards() -> list[ProviderCard]:
    """Return the cards of all providers: those with trouble, those with tokens, then by name.

    Providers that are switched off come last.
    """
    cards = make_cards(Provider.objects.order_by("name"))
    cards.sort(
        key=lambda card: (
            not card.provider.enabled,
            card.breaker is None,
            not (card.is_unusable and card.token_counts["total"]),
            not card.token_counts["total"],
            card.provider.name,
        )
    )
    return cards


def make_cards(providers: Iterable[Provider]) -> list[ProviderCard]:
    """Return the card of each provider; two more queries, however many there are."""
    counts = provider_counts.count_by_provider(UpstreamToken.objects.all())
    breakers = {state.provider_id: state for state in find_open_breakers()}
    return [make_card(row, counts.get(row.pk), breakers.get(row.pk)) for row in providers]


def make_card(
    provider: Provider,
    token_counts: provider_counts.StateCounts | None,
    breaker: BreakerState | None,
) -> ProviderCard:
    label = str(_("no adapter of this kind"))
    modes: tuple[str, ...] = ()
    if provider.kind in registry.list_adapter_kinds():
        adapter = registry.get_adapter_class(provider.kind)
        label = adapter.label
        modes = adapter.modes
    counts = token_counts or provider_counts.complete_counts({})
    return ProviderCard(provider, label, modes, counts, breaker)
