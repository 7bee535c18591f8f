"""Amounts of money and counts in templates, alike on all pages."""

from decimal import Decimal

from django import template
from django.utils.translation import gettext as _

register = template.Library()
MICRO_USD = Decimal(1_000_000)
SMALL_USD = Decimal("0.001")


@register.filter
def micro_usd(amount: int | None) -> str:
    """Return millionths of a USD as USD: `12.34 USD`, `0.0015 USD`, `0.000002 USD` or `unknown`."""
    if amount is None:
        return _("unknown")
    usd = Decimal(amount) / MICRO_USD
    if not usd:
        return "0 USD"
    digits = 2 if abs(usd) >= 1 else 4 if abs(usd) >= SMALL_USD else 6
    return f"{usd:,.{digits}f} USD"


@register.filter
def plain_usd(amount: Decimal | float | str | None) -> str:
    """Return an amount in USD without needless zeros; nothing is `–`."""
    if amount is None or amount == "":
        return "–"
    return f"{Decimal(str(amount)).normalize():f}"


@register.filter
def count(number: int | None) -> str:
    """Return a whole number with its thousands apart; nothing is `–`."""
    return "–" if number is None else f"{number:,}"


@register.filter
def milliseconds(number: float | None) -> str:
    """Return a time in seconds with two places: `1.25 s`; nothing is `–`."""
    return "–" if number is None else f"{number / 1000:,.2f} s"
