"""Amounts of money, durations and changes in few characters."""

from decimal import ROUND_HALF_EVEN, Decimal

from django.utils.formats import number_format
from django.utils.translation import gettext as _

MICRO_USD = Decimal(1_000_000)
UNKNOWN_COST_MARK = "*"  # behind an amount that leaves out requests of unknown cost
NO_VALUE = "–"


def format_money(micro_usd: int, unknown_cost_requests: int = 0) -> str:
    """Return an amount in USD; it is marked when the cost of some requests is not in it.

    Small amounts have four decimals. An amount that is not known at all is `–*`.
    """
    mark = UNKNOWN_COST_MARK if unknown_cost_requests else ""
    if not micro_usd and unknown_cost_requests:
        return f"{NO_VALUE}{mark}"
    amount = Decimal(micro_usd) / MICRO_USD
    step = Decimal("0.01") if abs(amount) >= 1 or not amount else Decimal("0.0001")
    return f"${amount.quantize(step, ROUND_HALF_EVEN):,}{mark}"


def format_number(count: int) -> str:
    """Return a whole number with separators."""
    return number_format(count, use_l10n=True, force_grouping=True)


def format_duration(milliseconds: float | None) -> str:
    """Return a time as `850 ms`, `1.2 s` or `2.5 min`."""
    if milliseconds is None:
        return NO_VALUE
    if milliseconds < 1_000:
        return _("%(count)s ms") % {"count": f"{milliseconds:.0f}"}
    if milliseconds < 60_000:
        return _("%(count)s s") % {"count": f"{milliseconds / 1_000:.3g}"}
    return _("%(count)s min") % {"count": f"{milliseconds / 60_000:.3g}"}


def format_size(size_bytes: int) -> str:
    """Return a number of bytes as `512 MB` or `1.5 GB`."""
    size = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1_000:
            return f"{size:.3g} {unit}"
        size /= 1_000
    return f"{size:.3g} TB"


def describe_change(now: float | None, before: float | None) -> str:
    """Return the change of a value as `+12 %`; empty when there was nothing before."""
    if now is None or not before:
        return ""
    percent = round((now - before) / before * 100)
    return f"{percent:+d} %" if percent else "±0 %"
