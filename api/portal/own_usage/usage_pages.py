"""The first page of the portal, and the page of the user's usage."""

from collections.abc import Iterable
from datetime import date

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from api.models import ApiKey, UsageRecord
from api.portal.own_keys.issuing_bounds import list_own_keys, list_own_models, load_user_as_caller
from api.portal.own_usage.limits_left import look_up_limits
from api.portal.own_usage.request_texts import describe_record
from api.portal.own_usage.usage_spans import RANGES, make_span, read_days, read_groups
from api.portal.portal_access import get_user, own_page, render_page
from conversations.models import Conversation, StoredFile
from providers.admin.charts import Series, render_bar_chart
from providers.protocol.json_types import JsonObject

LATEST_REQUESTS = 5
DaySums = dict[date, dict[str, int]]
Chart = tuple[str, SafeString]


@own_page("GET")
def show_home(request: HttpRequest) -> HttpResponseBase:
    """Show the home page: usage of a week, limits left, and the first steps."""
    user = get_user(request)
    days, totals = read_days(user.pk, make_span("7d"))
    caller = load_user_as_caller(user)
    rules = caller.limits.rules if caller.limits is not None else ()
    latest = list(UsageRecord.objects.filter(user=user)[:LATEST_REQUESTS])
    return render_page(
        request,
        "home",
        totals=totals,
        charts=[make_requests_chart(days), make_tokens_chart(days)],
        limits=look_up_limits(request, rules),
        key_count=list_own_keys(user).filter_valid().count(),
        model_count=len(list_own_models(user)),
        has_requests=bool(latest),
        has_conversations=Conversation.objects.of_user(user.pk).exists(),
        has_files=StoredFile.objects.of_user(user.pk).exists(),
        base_url=request.build_absolute_uri("/v1"),
        latest=[describe_record(row) for row in latest],
    )


@own_page("GET")
def show_usage(request: HttpRequest) -> HttpResponseBase:
    """Show the user's requests, tokens and cost by day, model and key, and the limits left."""
    user = get_user(request)
    span = make_span(request.GET.get("range", ""))
    days, totals = read_days(user.pk, span)
    caller = load_user_as_caller(user)
    rules = caller.limits.rules if caller.limits is not None else ()
    return render_page(
        request,
        "usage",
        span=span,
        ranges=list(RANGES),
        days=[{"day": day, **sums} for day, sums in reversed(days.items()) if sums["requests"]],
        totals=totals,
        charts=[
            make_requests_chart(days),
            make_tokens_chart(days),
            make_cost_chart(days),
        ],
        models=read_groups(user.pk, span, "model"),
        keys=add_key_names(user.pk, read_groups(user.pk, span, "key")),
        limits=look_up_limits(request, rules),
        token_total=totals["prompt_tokens"] + totals["completion_tokens"],
    )


def add_key_names(user_id: int, rows: Iterable[JsonObject]) -> list[JsonObject]:
    """Return the rows with the names that the user gave the keys."""
    names = dict(ApiKey.objects.filter(user=user_id).values_list("pk", "name"))
    return [row | {"key_name": names.get(row["key_id"] or 0, "")} for row in rows]


def make_requests_chart(days: DaySums) -> Chart:
    series = [Series(_("requests"), [sums["requests"] for sums in days.values()])]
    return make_chart(days, _("Requests per day"), series)


def make_tokens_chart(days: DaySums) -> Chart:
    series = [
        Series(_("prompt tokens"), [sums["prompt_tokens"] for sums in days.values()], 1),
        Series(_("completion tokens"), [sums["completion_tokens"] for sums in days.values()], 3),
    ]
    return make_chart(days, _("Tokens per day"), series)


def make_cost_chart(days: DaySums) -> Chart:
    usd = [sums["cost_micro_usd"] / 1_000_000 for sums in days.values()]
    return make_chart(days, _("Cost per day, in USD"), [Series(_("USD"), usd, 4)])


def make_chart(days: DaySums, title: str, series: list[Series]) -> Chart:
    """Return the title and the drawing of a chart of days."""
    return title, render_bar_chart(list_labels(days), series, title=title)


def list_labels(days: DaySums) -> list[str]:
    """Return the days as a chart has room for them: month and day."""
    return [f"{day:%m-%d}" for day in days]
