"""What needs attention: grouped, with the button that mends it, and gone when it is mended."""

import os
import re
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.core.cache import cache
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from api.alerts import event_records
from api.models import AlertDelivery, AlertEvent, ApiKey, RollupState, UsageRecord
from api.usage.folding import fold_all_records
from proxysite.desk.overview import system_health
from proxysite.testing import rows
from proxysite.tests.desk.pages import create_record, read_page, read_text
from tokens.maintenance import check_now
from tokens.models import BreakerState, UpstreamAccount, UpstreamToken

pytestmark = pytest.mark.django_db
NOTHING = "Nothing needs your attention."


@pytest.fixture(autouse=True)
def empty_cache():
    cache.clear()


@pytest.fixture
def pool(provider):
    return rows.create_tokens(provider, *(f"sk-of-the-pool-{number}" for number in range(10)))


def read_items(client):
    """Return the text of the section."""
    text = read_text(client)
    return text.split("Needs attention", 1)[1].split(" Usage 1 hour", 1)[0]


def press(client, label):
    """Send the form with this button, as a browser does; return the page that follows."""
    forms = re.findall(r"<form method=\"post\" action=\"([^\"]+)\">(.*?)</form>", read_page(client))
    [(address, fields)] = [form for form in forms if f">{label}</button>" in form[1]]
    values = dict(re.findall(r'name="(\w+)" value="([^"]*)"', fields))
    return client.post(address, values, follow=True).content.decode()


def test_disabled_tokens_are_one_line_and_a_button_resets_them(admin_client, pool):
    ids = [token.pk for token in pool[:8]]
    UpstreamToken.objects.filter(pk__in=ids).add_strike(1, "auth: Incorrect API key")
    shown = read_items(admin_client)
    assert shown.count("Incorrect API key") == 1
    assert "8 tokens of k2 are disabled. auth: Incorrect API key" in shown
    html = press(admin_client, "Reset them")
    assert "8 tokens are active again." in html
    assert NOTHING in html
    assert not UpstreamToken.objects.exclude(state="active").exists()
    assert LogEntry.objects.filter(change_message="Reset.").count() == 8


def test_a_button_checks_them(admin_client, pool, monkeypatch):
    UpstreamToken.objects.filter(pk=pool[0].pk).add_strike(1, "auth: Incorrect API key")
    checked = []

    def note_tokens(tokens):
        checked.extend(tokens.values_list("pk", flat=True))
        return "1 checked: 1 ok."

    monkeypatch.setattr(check_now, "check_or_queue", note_tokens)
    assert "1 checked: 1 ok." in press(admin_client, "Check them")
    assert checked == [pool[0].pk]


def test_tokens_that_a_person_disabled_need_nothing_and_are_not_reset(admin_client, pool, provider):
    UpstreamToken.objects.filter(pk=pool[0].pk).mark_disabled("by june")
    assert NOTHING in read_items(admin_client)
    UpstreamToken.objects.filter(pk=pool[1].pk).add_strike(1, "auth: no")
    press(admin_client, "Reset them")
    states = dict(UpstreamToken.objects.values_list("pk", "state"))
    assert (states[pool[0].pk], states[pool[1].pk]) == ("disabled", "active")


def test_a_group_that_does_not_exist_changes_nothing(admin_client, pool, provider):
    UpstreamToken.objects.filter(pk=pool[0].pk).add_strike(1, "auth: no")
    posted = {"provider": provider.pk, "group": "all", "deed": "reset"}
    html = admin_client.post("/admin/overview/tokens", posted, follow=True).content.decode()
    assert "There is no such group of tokens." in html
    assert UpstreamToken.objects.get(pk=pool[0].pk).state == "disabled"


def test_an_open_breaker_is_shown_with_its_reason_and_its_end(admin_client, pool, provider):
    now = timezone.now()
    state = BreakerState.objects.create(
        provider=provider,
        open_until=now + timedelta(minutes=5),
        opened_at=now,
        changed_at=now,
        cause="failures",
        reason="The engine is currently overloaded",
        callers=[1, 2, 3],
        process="p",
    )
    shown = read_items(admin_client)
    assert "k2 is not asked: its circuit breaker is open." in shown
    until = f"{state.open_until:%Y-%m-%d %H:%M:%S}"
    assert f"The engine is currently overloaded · until: {until}" in shown
    card = read_text(admin_client).split(" Providers k2 ", 1)[1]
    assert f"Not asked until {until} The engine is currently overloaded" in card
    BreakerState.objects.update(callers=[], asked_models=["kimi-k2"])
    assert "k2 is not asked for the model kimi-k2." in read_items(admin_client)
    BreakerState.objects.update(callers=[1], asked_models=[])
    assert "for the callers whose requests failed." in read_items(admin_client)
    BreakerState.objects.update(open_until=now - timedelta(seconds=1))
    assert "the next request finds out whether it works again" in read_items(admin_client)
    BreakerState.objects.update(open_until=None)
    assert NOTHING in read_items(admin_client)


def test_pools_that_cannot_answer_are_shown(admin_client, provider):
    assert "k2 has no token: its models cannot answer." in read_items(admin_client)
    [token] = rows.create_tokens(provider, "sk-1", expires_at=timezone.now() - timedelta(hours=1))
    shown = read_items(admin_client)
    assert "No token of k2 can be used now." in shown
    assert "1 token of k2 has expired: replace or delete it." in shown
    UpstreamToken.objects.filter(pk=token.pk).update(expires_at=timezone.now() + timedelta(hours=3))
    assert "1 token of k2 expires within a day." in read_items(admin_client)
    UpstreamToken.objects.filter(pk=token.pk).update(expires_at=timezone.now() + timedelta(days=3))
    assert NOTHING in read_items(admin_client)


def test_used_up_quotas_and_accounts_that_cannot_sign_in_are_shown(admin_client, pool, provider):
    later = timezone.now() + timedelta(hours=2)
    UpstreamToken.objects.filter(pk=pool[0].pk).update(
        state="exhausted", rests_until=later, reason="quota: spent"
    )
    account = UpstreamAccount(provider=provider, email="j@example.org", failures=2, reason="no")
    account.seal_password("p")
    account.save()
    shown = read_items(admin_client)
    assert "1 token of k2 has used up its quota. quota: spent" in shown
    assert "1 account of k2 cannot sign in." in shown


def test_a_provider_without_a_model_is_shown(admin_client, pool, provider):
    provider.models.all().delete()
    assert "k2 has no model: no request can reach it." in read_items(admin_client)


def test_a_model_without_a_price_has_a_button_that_fills_the_form(admin_client, pool, provider):
    attempt = {"outcome": "answered", "provider": "k2", "provider_id": provider.pk}
    create_record(pool[0], provider=provider)
    record = UsageRecord.objects.get()
    record.attempts = [{**record.attempts[0], **attempt, "model": "kimi-k2-upstream"}]
    record.save()
    fold_all_records()
    shown = read_items(admin_client)
    assert "whose price is unknown." in shown, shown
    assert f"/admin/api/price/add/?provider={provider.pk}&amp;upstream_model=" in read_page(
        admin_client
    )


def test_a_silent_worker_is_shown_after_some_minutes(admin_client, admin_user, pool):
    assert "No worker" not in read_items(admin_client), "the gateway has just begun"
    ApiKey.objects.create(user=admin_user, prefix="p", digest="d")
    ApiKey.objects.update(created_at=timezone.now() - timedelta(hours=1))
    assert "No worker has done any periodic work yet." in read_items(admin_client)
    interval = IntervalSchedule.objects.create(every=1, period="minutes")
    task = PeriodicTask.objects.create(name="t", task="t", interval=interval)
    PeriodicTask.objects.update(last_run_at=timezone.now() - timedelta(hours=1))
    assert "No worker has done any periodic work lately." in read_items(admin_client)
    PeriodicTask.objects.filter(pk=task.pk).update(last_run_at=timezone.now())
    assert NOTHING in read_items(admin_client)


def test_a_full_disk_unwritten_records_and_tables_behind_are_shown(
    admin_client, pool, settings, tmp_path, monkeypatch
):
    monkeypatch.setattr(system_health, "read_free_bytes", lambda: 5_000_000)
    monkeypatch.setattr(system_health, "find_pending_migrations", lambda: 2)
    RollupState.objects.update_or_create(pk=1, defaults={"needs_rebuild": True})
    folder = settings.HOME.make_path("spool", "1-abc.spool").parent
    spool, refused = folder / "1-abc.spool", folder / "refused.jsonl"
    spool.write_bytes(b"[]\n")
    refused.write_bytes(b"[]\n")
    os.utime(spool, (0, datetime(2026, 1, 2, tzinfo=UTC).timestamp()))
    try:
        shown = read_items(admin_client)
    finally:
        spool.unlink()
        refused.unlink()
    assert "nearly full: 5 MB left." in shown
    assert "wait on disk for the database: 3 B. since: 2026-01-02 00:00:00" in shown
    assert "The database refused some usage records" in shown
    assert "2 migrations of the database have not run" in shown
    assert "The sums of usage do not have all older records yet" in shown


def test_alerts_that_were_not_delivered_are_sent_again_by_a_button(admin_client, pool, monkeypatch):
    sent = []
    monkeypatch.setattr(event_records, "send_delivery_task", lambda: sent.append(True))
    event = AlertEvent.objects.create(kind="test", subject_kind="gateway", subject_id="", period="")
    AlertDelivery.objects.create(event=event, channel="webhook", state="failed", problem="HTTP 500")
    assert "1 alert could not be delivered. HTTP 500" in read_items(admin_client)
    html = press(admin_client, "Send them again")
    assert "1 alert will be sent again." in html
    assert NOTHING in html
    assert (AlertDelivery.objects.get().state, sent) == ("waiting", [True])


def test_many_alike_are_folded(admin_client):
    for number in range(6):
        rows.create_provider("https://api.example.com/v1", f"provider-{number}")
    html = read_page(admin_client)
    before, after = html.split("<details>", 1)
    assert before.count("has no token: its models") == 2
    assert "4 more like these" in after
