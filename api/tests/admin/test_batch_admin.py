"""The admin of batches: everybody on the staff reads them, operators cancel them."""

from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.utils import timezone

from api.models import Batch, BatchStatus
from api.tests.admin.pages import page_of
from proxysite.testing.rows import create_person

pytestmark = pytest.mark.django_db
BATCHES = "/admin/api/batch/"
XSS = "<script>alert(1)</script>"


@pytest.fixture
def batch() -> Batch:
    person = create_person(XSS)
    return Batch.objects.create(
        user_id=person.user.pk,
        key=person.row,
        endpoint="/v1/chat/completions",
        completion_window="24h",
        input_file_id="file-1",
        expires_at=timezone.now() + timedelta(days=1),
        total_count=3_000,
        completed_count=1_000,
        errors=[{"code": "invalid_json_line", "line": 7, "message": XSS, "param": None}],
    )


def cancel(client: Client, *rows: Batch) -> str:
    data = {"action": "cancel", "_selected_action": [row.pk for row in rows]}
    return client.post(BATCHES, data, follow=True).content.decode()


def test_the_pages_show_batches_as_text(admin_client: Client, batch: Batch) -> None:
    for address in (BATCHES, page_of(batch)):
        html = admin_client.get(address).content.decode()
        assert "1,000 / 3,000" in html
        assert XSS not in html
    for term, count in ((batch.pk, 1), (XSS, 1), ("batch_x", 0), ("nobody", 0)):
        assert admin_client.get(BATCHES, {"q": term}).context["cl"].result_count == count


def test_a_batch_is_cancelled_once(admin_client: Client, batch: Batch) -> None:
    assert "1 batch cancelled." in cancel(admin_client, batch)
    batch.refresh_from_db()
    assert batch.status == BatchStatus.CANCELLING
    assert batch.cancelling_at
    assert LogEntry.objects.get().change_message == "Cancelled."
    assert "0 batches cancelled." in cancel(admin_client, batch)


def test_nobody_adds_or_deletes_a_batch(admin_client: Client, batch: Batch) -> None:
    assert admin_client.get(f"{BATCHES}add/").status_code == 403
    assert admin_client.post(page_of(batch, "delete"), {"post": "yes"}).status_code == 403
