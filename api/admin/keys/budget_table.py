"""The table of budgets on the pages of keys, users and teams: spent, left, and until when."""

from django.db.models import QuerySet
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from api.key_rights.budgets_left import BudgetLeft, read_budgets
from api.limits.limit_errors import format_usd
from api.models import LimitSet
from providers.admin.big_tables import NO_VALUE


def render_budgets(limits: QuerySet[LimitSet]) -> SafeString | str:
    """Return the table of the budgets among these limits, or a dash when there are none."""
    rows = format_html_join(
        "",
        '<tr><th scope="row">{}</th><td class="number">{}</td><td class="number">{}</td>'
        '<td class="number">{}</td><td>{}</td><td>{}</td></tr>',
        (
            (
                name_period(budget),
                format_usd(budget.amount),
                format_usd(budget.spent),
                format_usd(budget.left),
                render_progress(budget),
                render_end(budget),
            )
            for budget in read_budgets(limits)
        ),
    )
    if not rows:
        return NO_VALUE
    heads = (_("budget"), _("amount, USD"), _("spent"), _("left"), _("used"), _("renewed"))
    return format_html(
        '<div class="table-wrap" tabindex="0"><table class="table"><thead><tr>{}</tr></thead>'
        "<tbody>{}</tbody></table></div>",
        format_html_join("", '<th scope="col">{}</th>', ((head,) for head in heads)),
        rows,
    )


def name_period(budget: BudgetLeft) -> str:
    names = {"day": _("a day"), "month": _("a month"), "total": _("altogether")}
    rolling = {"day": _("24 hours"), "month": _("30 days")}
    name = rolling.get(budget.unit) if budget.is_rolling else None
    return str(name or names.get(budget.unit, budget.unit))


def render_progress(budget: BudgetLeft) -> SafeString:
    return format_html(
        '<progress class="progress" max="100" value="{}">{} %</progress>',
        budget.percent,
        budget.percent,
    )


def render_end(budget: BudgetLeft) -> str:
    """Return when a budget begins anew; a rolling one does so little by little."""
    if budget.resets_at is not None:
        return f"{timezone.localtime(budget.resets_at):%Y-%m-%d %H:%M}"
    return _("little by little") if budget.is_rolling else _("never")
