"""The cards of the dashboard: each provider with its mode, its tokens and its circuit breaker."""

from collections.abc import Iterable
from dataclasses import dataclass

from providers import registry
from providers.choices import Mode
from providers.models import Provider
from tokens import provider_counts
from tokens.models import UpstreamToken
from tokens.outcomes.breaker_sharing import describe_open_breaker, find_open_breakers


@dataclass(frozen=True, slots=True)
class ProviderCard:
    """One provider, as the page shows it."""

    provider: Provider
    label: str
    modes: tuple[str, ...]
    token_counts: provider_counts.StateCounts
    breaker: str = ""  # why the provider is not asked now; empty while it is asked

    @property
    def inactive_counts(self) -> list[tuple[str, int]]:
        """Return why tokens are inactive, as (word, count)."""
        return [
            (word, self.token_counts[word])
            for word in provider_counts.TOKEN_STATES[1:]
            if self.token_counts[word]
        ]

    @property
    def other_mode(self) -> str:
        """Return the mode that a person can switch to, or an empty string."""
        return next((mode for mode in self.modes if mode != self.provider.mode), "")

    @property
    def is_guest(self) -> bool:
        return self.provider.mode == Mode.GUEST


def make_card(
    provider: Provider, token_counts: provider_counts.StateCounts | None, breaker: str = ""
) -> ProviderCard:
    label = "no adapter of this kind"
    modes: tuple[str, ...] = ()
    if provider.kind in registry.list_adapter_kinds():
        adapter = registry.get_adapter_class(provider.kind)
        label = adapter.label
        modes = adapter.modes
    counts = token_counts or provider_counts.complete_counts({})
    return ProviderCard(provider, label, modes, counts, breaker)


def make_cards(providers: Iterable[Provider]) -> list[ProviderCard]:
    """Return the cards of providers: those with tokens first, then by name.

    Providers that are switched off come last.
    """
    counts_by_provider = provider_counts.count_by_provider(UpstreamToken.objects.all())
    breakers = {state.provider_id: describe_open_breaker(state) for state in find_open_breakers()}
    cards = [
        make_card(row, counts_by_provider.get(row.pk), breakers.get(row.pk, ""))
        for row in providers
    ]
    cards.sort(
        key=lambda card: (
            not card.provider.enabled,
            not card.token_counts["total"],
            card.provider.name,
        )
    )
    return cards
