"""The columns and read-only fields of API keys."""

from typing import Any

from django.contrib import admin
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from api.admin.keys.budget_table import render_budgets
from api.admin.requests.usage_section import render_usage_section
from api.limits.limit_errors import format_usd
from api.limits.limit_texts import describe_limits
from api.models import ApiKey
from providers.admin.big_tables import NO_VALUE, render_badge

MOST_LISTED_MODELS = 2  # number of a key's models that the list names


class KeyColumns:
    """A mixin for the admin of API keys."""

    @admin.display(description=gettext_lazy("key"))
    def key_prefix(self, row: ApiKey) -> str:
        return str(row)

    @admin.display(description=gettext_lazy("usage"))
    def usage_section(self, row: ApiKey) -> SafeString:
        return render_usage_section("key", row)

    @admin.display(description=gettext_lazy("models"))
    def model_names(self, row: ApiKey) -> str:
        count = len(row.allowed_models)
        if count > MOST_LISTED_MODELS:
            return ngettext("%(count)d model", "%(count)d models", count) % {"count": count}
        return ", ".join(row.allowed_models) or _("all")

    @admin.display(description=gettext_lazy("spent, USD"))
    def spent(self, row: Any) -> str:
        return format_usd(getattr(row, "spent_micro_usd", 0))

    @admin.display(description=gettext_lazy("limits"))
    def limits_text(self, row: Any) -> str:
        limits = getattr(row, "own_limits", None)
        return describe_limits(vars(limits)) if limits is not None else NO_VALUE

    @admin.display(description=gettext_lazy("budgets"))
    def budgets(self, row: ApiKey) -> SafeString | str:
        return render_budgets(row.limit_sets.all())

    @admin.display(description=gettext_lazy("state"))
    def state_badge(self, row: ApiKey) -> SafeString:
        if row.revoked_at is not None:
            return render_badge("bad", _("revoked"))
        if row.is_expired:
            return render_badge("off", _("expired"))
        if not row.user.is_active:
            return render_badge("off", _("user blocked"))
        return render_badge("good", _("valid"))
