"""The admin of alerts and their deliveries; failed deliveries can be sent again."""

from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.formats import date_format
from django.utils.safestring import SafeString
from django.utils.timezone import localtime
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from api.alerts import event_records
from api.alerts.alert_texts import describe_alert, describe_subject
from api.models import AlertDelivery, AlertDeliveryQuerySet, AlertEvent, AlertKind, DeliveryState
from providers.admin.big_tables import (
    NO_VALUE,
    BigTableAdmin,
    make_time_column,
    record_in_history,
    render_badge,
    render_count,
)

ALERT_PREFIX = "alert_"
STATE_COLOURS = {
    DeliveryState.WAITING: "wait",
    DeliveryState.SENT: "good",
    DeliveryState.FAILED: "bad",
}


class ReadOnlyAdmin:
    """A mixin: rows are read, and neither added, changed nor deleted by people."""

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class DeliveryInline(ReadOnlyAdmin, admin.TabularInline):  # type: ignore[type-arg]
    model = AlertDelivery
    verbose_name_plural = _("deliveries")
    fields = ("channel", "recipient", "state_badge", "attempt_count", "sent", "problem")
    readonly_fields = fields
    extra = 0
    show_change_link = True
    sent = make_time_column("sent_at", _("sent"))

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[AlertDelivery]:
        rows: QuerySet[AlertDelivery] = super().get_queryset(request)
        return rows.select_related("user")

    @admin.display(description=_("state"))
    def state_badge(self, row: AlertDelivery) -> SafeString:
        return render_state(row)


@admin.register(AlertEvent)
class AlertEventAdmin(ReadOnlyAdmin, BigTableAdmin):
    list_display = ("created", "kind", "text", "period")
    list_filter = ("kind",)
    sortable_by = ()
    search_fields = ("id",)
    search_help_text = _("A whole alert id: alert_…")
    actions = None
    fields = ("alert_id", "created", "kind", "text", "subject", "period")
    readonly_fields = fields
    inlines = (DeliveryInline,)
    created = make_time_column("created_at", _("reported"))

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def find_rows(self, queryset: QuerySet[AlertEvent], term: str) -> QuerySet[AlertEvent]:
        try:
            return queryset.filter(pk=UUID(term.removeprefix(ALERT_PREFIX)))
        except ValueError:
            return queryset.none()

    @admin.display(description=_("id"))
    def alert_id(self, event: AlertEvent) -> str:
        return str(event)

    @admin.display(description=_("alert"))
    def text(self, event: AlertEvent) -> str:
        return describe_alert(event)

    @admin.display(description=_("about"))
    def subject(self, event: AlertEvent) -> str:
        return describe_subject(event)


@admin.register(AlertDelivery)
class AlertDeliveryAdmin(ReadOnlyAdmin, BigTableAdmin):
    list_display = ("receiver", "kind", "state_badge", "attempt_count", "next_attempt", "problem")
    list_filter = ("state", "channel")
    list_select_related = ("event", "user")
    sortable_by = ()
    actions = ("send_again",)
    fields = (
        "alert_text",
        "channel",
        "recipient",
        "state_badge",
        "attempt_count",
        "next_attempt",
        "sent",
        "problem",
    )
    readonly_fields = fields
    sent = make_time_column("sent_at", _("sent"))

    @admin.display(description=_("next attempt"))
    def next_attempt(self, row: AlertDelivery) -> str:
        if row.state != DeliveryState.WAITING:
            return NO_VALUE
        return date_format(localtime(row.due_at), "Y-m-d H:i:s")

    @admin.display(description=_("to"))
    def receiver(self, row: AlertDelivery) -> str:
        return str(row)

    @admin.display(description=_("alert"))
    def kind(self, row: AlertDelivery) -> str:
        return AlertKind(row.event.kind).label

    @admin.display(description=_("alert"))
    def alert_text(self, row: AlertDelivery) -> str:
        return describe_alert(row.event)

    @admin.display(description=_("state"))
    def state_badge(self, row: AlertDelivery) -> SafeString:
        return render_state(row)

    @admin.action(description=_("Send selected failed deliveries again"), permissions=["change"])
    def send_again(self, request: HttpRequest, queryset: AlertDeliveryQuerySet) -> None:
        """Let failed deliveries begin again; those that were taken are never sent again."""
        failed: Any = queryset.filter(state=DeliveryState.FAILED)
        record_in_history(request, failed, "Sent again.")
        count = failed.mark_waiting()
        if count:
            event_records.send_delivery_task()
        text = gettext("%(deliveries)s will be sent again.") % {
            "deliveries": render_count(AlertDelivery, count)
        }
        level = messages.SUCCESS if count else messages.WARNING
        self.message_user(request, text, level)


def render_state(row: AlertDelivery) -> SafeString:
    """Return the state of a delivery as a badge."""
    state = DeliveryState(row.state)
    return render_badge(STATE_COLOURS[state], state.label)
