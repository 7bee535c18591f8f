"""Prices and costs in words, for commands and pages."""

from decimal import Decimal


def render_usd(price: Decimal | None) -> str:
    """Return a price without needless zeros; a price that is unknown is `-`."""
    return "-" if price is None else f"{price.normalize():f}"


def render_micro_usd(micro_usd: int | None) -> str:
    """Return an amount in micro-USD as USD: `0.001500 USD`, or `unknown`."""
    if micro_usd is None:
        return "unknown"
    sign = "-" if micro_usd < 0 else ""
    whole, rest = divmod(abs(micro_usd), 10**6)
    return f"{sign}{whole}.{rest:06} USD"
