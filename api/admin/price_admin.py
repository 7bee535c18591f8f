"""The admin of prices: a price that records name is not changed, a new one is added."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import DecimalField, F, OuterRef, Q, QuerySet, Subquery
from django.forms.models import model_to_dict
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from api.admin.price_links import build_add_address, render_history
from api.models import Price
from api.pricing.price_texts import render_usd
from api.pricing.price_values import UNIT_COLUMNS, USD_COLUMNS
from api.pricing.unknown_prices import RECENT_RECORDS, find_unknown_prices
from providers.admin.big_tables import make_time_column, render_badge
from providers.integers import parse_integer

MOST_UNKNOWN = 20  # models without a price that the list names
PRESENT = timedelta(minutes=5)  # a price that began within that time is one of now
HIGHEST_ID = 2**63 - 1
PROVIDER_QUERY = "provider__id__exact"
COPIED_FIELDS = ("provider", "upstream_model", "tiers", "batch_factor", *USD_COLUMNS)


class UsdInput(forms.NumberInput):
    """An input for a price, shown without needless zeros."""

    def format_value(self, value: Any) -> str | None:
        return render_usd(value) if isinstance(value, Decimal) else super().format_value(value)


class StateFilter(admin.SimpleListFilter):
    title = _("state")
    parameter_name = "is"

    def lookups(self, request: HttpRequest, model_admin: object) -> list[Any]:
        return [("valid", _("in force")), ("later", _("later")), ("past", _("past"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Price]) -> QuerySet[Price]:
        match self.value():
            case "valid":
                return queryset.filter(pk=F("in_force_id"))
            case "later":
                return queryset.filter(valid_from__gt=timezone.now())
            case "past":
                return queryset.filter(valid_from__lte=timezone.now()).exclude(pk=F("in_force_id"))
        return queryset


class UpstreamModelFilter(admin.SimpleListFilter):
    """Offers the models of the provider that is chosen; without one there are too many."""

    title = _("model")
    parameter_name = "upstream_model"

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        provider_id = parse_integer(request.GET.get(PROVIDER_QUERY, ""), 1, HIGHEST_ID)
        if provider_id is None:
            chosen = request.GET.get(self.parameter_name)
            return [(chosen, chosen)] if chosen else []
        prices = Price.objects.filter(provider_id=provider_id).order_by("upstream_model")
        return [(name, name) for name in prices.values_list("upstream_model", flat=True).distinct()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Price]) -> QuerySet[Price]:
        name = self.value()
        return queryset.filter(upstream_model=name) if name else queryset


@admin.register(Price)
class PriceAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = (
        "upstream_model",
        "provider",
        "begin",
        "state_badge",
        "prompt_price",
        "cached_price",
        "completion_price",
        "request_price",
    )
    sortable_by = ()
    show_facets = admin.ShowFacets.NEVER
    list_select_related = ("provider",)
    list_filter = (StateFilter, "provider", UpstreamModelFilter)
    list_per_page = 100
    search_fields = ("upstream_model", "provider__name")
    search_help_text = _("A part of the model's or the provider's name")
    actions = None
    formfield_overrides = {DecimalField: {"widget": UsdInput(attrs={"step": "any"})}}
    change_list_template = "admin/api/price/change_list.html"
    change_form_template = "admin/api/price/change_form.html"
    readonly_fields = ("history",)
    fieldsets = (
        (None, {"fields": ("provider", "upstream_model", "valid_from", "source")}),
        (
            _("USD per million tokens"),
            {
                "fields": (
                    "prompt_usd",
                    "cached_usd",
                    "cache_write_usd",
                    "completion_usd",
                    "reasoning_usd",
                    "tiers",
                ),
                "description": _("An empty price is unknown; 0 means that it costs nothing."),
            },
        ),
        (_("USD for each"), {"fields": ("request_usd", *UNIT_COLUMNS)}),
        (_("Batches"), {"fields": ("batch_factor",)}),
    )
    history_fieldset = (_("All prices of this model"), {"fields": ("history",)})
    begin = make_time_column("valid_from", _("from"))

    def get_fieldsets(self, request: HttpRequest, obj: Price | None = None) -> Any:
        """Return the fields; of an existing price, with all prices of its model."""
        return self.fieldsets if obj is None else (*self.fieldsets, self.history_fieldset)

    def has_change_permission(self, request: HttpRequest, obj: Price | None = None) -> bool:
        """Return whether the price may be changed: not once usage records name it."""
        return super().has_change_permission(request, obj) and (obj is None or not obj.is_used)

    def has_delete_permission(self, request: HttpRequest, obj: Price | None = None) -> bool:
        """Return whether the price may be deleted: not once usage records name it."""
        return super().has_delete_permission(request, obj) and (obj is None or not obj.is_used)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Price]:
        """Add the id of the price of the same model that is in force: `in_force_id`."""
        rows: QuerySet[Price] = super().get_queryset(request)
        return rows.annotate(in_force_id=find_price_in_force())

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Return the values of the form for a new price, which begins now.

        `copy` in the address is the id of a price whose values are copied.
        """
        initial: dict[str, Any] = super().get_changeform_initial_data(request)
        initial["valid_from"] = timezone.now().replace(second=0, microsecond=0)
        copied_id = parse_integer(request.GET.get("copy", ""), 1, HIGHEST_ID)
        if copied_id is not None and (price := Price.objects.filter(pk=copied_id).first()):
            initial |= model_to_dict(price, COPIED_FIELDS)
        return initial

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, object] | None = None
    ) -> HttpResponse:
        """Return the list, under the used models that have no price."""
        unknown = find_unknown_prices(RECENT_RECORDS)
        lines = [
            {
                "unknown": price,
                "address": build_add_address(
                    provider=price.provider.pk, upstream_model=price.upstream_model
                ),
            }
            for price in unknown[:MOST_UNKNOWN]
        ]
        context = {"unknown_lines": lines, "more_unknown": len(unknown) - len(lines)}
        return super().changelist_view(request, context | (extra_context or {}))

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Save the price; say how requests that were before get their cost."""
        super().save_model(request, obj, form, change)
        if obj.valid_from < timezone.now() - PRESENT:
            command = f"recost --from {obj.valid_from:%Y-%m-%d} --provider {obj.provider.name}"
            text = _("Requests that were recorded before now keep their cost until: %(command)s")
            message = text % {"command": f"manage.py {command}"}
            self.message_user(request, message, messages.INFO)

    @admin.display(description=_("state"))
    def state_badge(self, price: Any) -> SafeString:
        if price.pk == price.in_force_id:
            return render_badge("good", _("in force"))
        if price.valid_from > timezone.now():
            return render_badge("wait", _("later"))
        return render_badge("off", _("past"))

    @admin.display(description=_("prompt"))
    def prompt_price(self, price: Price) -> str:
        return mark_tiers(render_usd(price.prompt_usd), price)

    @admin.display(description=_("cached"))
    def cached_price(self, price: Price) -> str:
        return render_usd(price.cached_usd)

    @admin.display(description=_("completion"))
    def completion_price(self, price: Price) -> str:
        return mark_tiers(render_usd(price.completion_usd), price)

    @admin.display(description=_("request"))
    def request_price(self, price: Price) -> str:
        return render_usd(price.request_usd)

    @admin.display(description=_("history"))
    def history(self, price: Price) -> SafeString | str:
        return render_history(price)


def mark_tiers(text: str, price: Price) -> str:
    """Return a price with a mark when long prompts have others."""
    return f"{text} +" if price.tiers else text


def find_price_in_force() -> Subquery:
    """Return a subquery for the id of the price in force of a row's provider and model."""
    same_model = Q(
        provider_id=OuterRef("provider_id"),
        upstream_model=OuterRef("upstream_model"),
        valid_from__lte=timezone.now(),
    )
    return Subquery(Price.objects.filter(same_model).order_by("-valid_from").values("pk")[:1])
