"""The admin of alerts: read-only, but failed deliveries can be sent again."""

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client

from api.alerts.event_records import record_alerts
from api.models import AlertChannel, AlertDelivery, AlertEvent, DeliveryState
from api.tests.admin.pages import page_of
from api.tests.alerts.receiver import make_facts
from proxysite.testing.rows import create_person

pytestmark = pytest.mark.django_db
EVENTS = "/admin/api/alertevent/"
DELIVERIES = "/admin/api/alertdelivery/"
XSS = "<script>alert(1)</script>"


@pytest.fixture(autouse=True)
def orders(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return one entry for each task that was ordered."""
    ordered: list[int] = []
    monkeypatch.setattr("api.alerts.event_records.send_delivery_task", lambda: ordered.append(1))
    return ordered


@pytest.fixture
def event() -> AlertEvent:
    person = create_person(XSS)
    (event,) = record_alerts([make_facts(person.row.pk)])
    return event


def create_delivery(event: AlertEvent, state: DeliveryState) -> AlertDelivery:
    return AlertDelivery.objects.create(
        event=event, channel=AlertChannel.WEBHOOK, state=state, problem=XSS, attempt_count=3
    )


def send_again(client: Client, *rows: AlertDelivery) -> str:
    data = {"action": "send_again", "_selected_action": [row.pk for row in rows]}
    return client.post(DELIVERIES, data, follow=True).content.decode()


def test_the_pages_show_alerts_and_deliveries_as_text(
    admin_client: Client, event: AlertEvent
) -> None:
    delivery = create_delivery(event, DeliveryState.FAILED)
    for address in (EVENTS, page_of(event), DELIVERIES, page_of(delivery)):
        html = admin_client.get(address).content.decode()
        assert "4.01 of 5 USD" in html or address == DELIVERIES
        assert XSS not in html
    assert admin_client.get(EVENTS, {"q": str(event)}).context["cl"].result_count == 1
    assert admin_client.get(EVENTS, {"q": "nonsense"}).context["cl"].result_count == 0


def test_nobody_adds_changes_or_deletes_an_alert(admin_client: Client, event: AlertEvent) -> None:
    delivery = create_delivery(event, DeliveryState.SENT)
    for row, pages in ((event, EVENTS), (delivery, DELIVERIES)):
        assert admin_client.get(f"{pages}add/").status_code == 403
        assert admin_client.post(page_of(row, "delete"), {"post": "yes"}).status_code == 403
    assert admin_client.post(page_of(event), {}).status_code == 403


def test_failed_deliveries_are_sent_again_and_others_are_not(
    admin_client: Client, event: AlertEvent, orders: list[int]
) -> None:
    failed, sent, waiting = (
        create_delivery(event, state)
        for state in (DeliveryState.FAILED, DeliveryState.SENT, DeliveryState.WAITING)
    )
    assert "1 alert delivery will be sent again" in send_again(admin_client, failed, sent, waiting)
    states = dict(AlertDelivery.objects.values_list("pk", "state"))
    assert states == {failed.pk: "waiting", sent.pk: "sent", waiting.pk: "waiting"}
    failed.refresh_from_db()
    assert failed.attempt_count == 0
    assert len(orders) == 1
    assert LogEntry.objects.get().object_id == str(failed.pk)
    assert "0 alert deliveries" in send_again(admin_client, sent)
    assert len(orders) == 1


def test_who_may_only_view_sends_nothing(client: Client, event: AlertEvent) -> None:
    failed = create_delivery(event, DeliveryState.FAILED)
    viewer = User.objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_alertdelivery"))
    client.force_login(viewer)
    assert client.get(DELIVERIES).status_code == 200
    assert client.get(EVENTS).status_code == 403
    send_again(client, failed)
    failed.refresh_from_db()
    assert failed.state == DeliveryState.FAILED
