"""The chart of a key's, a user's or a team's requests and cost by the day."""

from collections.abc import Collection
from datetime import UTC, date, datetime, timedelta

from django.db.models import Sum
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from api.models import Status, UsageDay
from providers.admin.charts import Series, render_bar_chart

CHART_DAYS = 30
MICRO_USD = 1_000_000


def render_usage_chart(column: str, ids: Collection[int]) -> SafeString:
    """Return two charts of the last CHART_DAYS days, in UTC: requests, and cost in USD.

    `column` is that of the roll-ups, for example `user_id`.
    """
    today = datetime.now(UTC).date()
    days = [today - timedelta(days=ago) for ago in range(CHART_DAYS - 1, -1, -1)]
    answered, refused, cost = read_days(column, ids, days)
    labels = [f"{day:%m-%d}" for day in days]
    requests = render_bar_chart(
        labels,
        [Series(_("requests"), answered, 1), Series(_("refused"), refused, 2)],
        title=_("Requests by the day (UTC)"),
    )
    spent = render_bar_chart(
        labels, [Series(_("USD"), cost, 3)], title=_("Cost in USD by the day (UTC)")
    )
    return format_html('<div class="columns-2"><div>{}</div><div>{}</div></div>', requests, spent)


def read_days(
    column: str, ids: Collection[int], days: list[date]
) -> tuple[list[float], list[float], list[float]]:
    """Return answered and refused requests and the cost in USD of each day."""
    rows = (
        UsageDay.objects.filter(**{f"{column}__in": ids}, slot__gte=days[0])
        .order_by()
        .values_list("slot", "status")
        .annotate(requests=Sum("requests"), cost=Sum("cost_micro_usd"))
    )
    answered = dict.fromkeys(days, 0.0)
    refused = dict.fromkeys(days, 0.0)
    cost = dict.fromkeys(days, 0.0)
    for slot, status, requests, micro_usd in rows:
        if slot not in cost:
            continue
        counts = refused if status == Status.REFUSED else answered
        counts[slot] += requests
        cost[slot] += micro_usd / MICRO_USD
    return list(answered.values()), list(refused.values()), list(cost.values())
