"""The list and the page of tokens: filters, reasons, checks, buttons, moves, results."""

from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from providers.models import Provider, TaskProgress
from proxysite.testing.rows import move_providers
from tokens.admin import token_actions
from tokens.admin.token_admin import UpstreamTokenAdmin
from tokens.imports.batch_model import ImportBatch
from tokens.maintenance.check_now import WorkerUnreachable
from tokens.models import TokenCheck, Transition, UpstreamToken
from tokens.tasks import carry_on_order
from tokens.tests.admin.admin_pages import OTHER, SECRET, TOKENS, make_token_url, run_action
from tokens.tests.listing import serving

pytestmark = pytest.mark.django_db
LONG_REASON = "auth: <b>The key is void</b>, as somebody published it on a public site last week."


def read_list(client: Client, **query: str) -> str:
    answer = client.get(TOKENS, query)
    assert answer.status_code == 200
    return answer.content.decode()


def is_listed(html: str, token: UpstreamToken) -> bool:
    return make_token_url(token) in html


@pytest.fixture
def other(token: UpstreamToken) -> UpstreamToken:
    """A token that differs from `token` in every way that a filter knows."""
    row = UpstreamToken.from_secret(
        token.provider, OTHER, state="disabled", reason=LONG_REASON, kind="session", failures=3
    )
    row.save()
    UpstreamToken.objects.filter(pk=row.pk).update(
        created_at=timezone.now() - timedelta(days=30), requests=4
    )
    TokenCheck.objects.create(
        token=row, at=timezone.now(), outcome="rejected", reason="void", milliseconds=230
    )
    return row


@pytest.mark.parametrize(
    ("name", "word", "opposite"),
    [
        ("is", "disabled", "usable"),
        ("reason", "auth", "quota"),
        ("age", "older", "hour"),
        ("check", "failed", "never"),
        ("check", "day", "works"),
        ("kind", "session", "key"),
    ],
)
def test_each_filter_shows_some_and_leaves_out_others(
    admin_client: Client,
    token: UpstreamToken,
    other: UpstreamToken,
    name: str,
    word: str,
    opposite: str,
) -> None:
    html = read_list(admin_client, **{name: word})
    assert is_listed(html, other)
    assert not is_listed(html, token)
    assert not is_listed(read_list(admin_client, **{name: opposite}), other)


def test_the_list_shows_failures_success_and_the_last_check(
    admin_client: Client, other: UpstreamToken
) -> None:
    html = read_list(admin_client)
    assert "25 %" in html
    assert 'title="230 ms void"' in html
    assert "rejected" in html
    assert "<b>The key" not in html
    assert 'title="auth: &lt;b&gt;The key is void&lt;/b&gt;' in html


def test_the_list_is_sorted_by_failures(
    admin_client: Client, token: UpstreamToken, other: UpstreamToken
) -> None:
    column = 1 + UpstreamTokenAdmin.list_display.index("failures")
    html = read_list(admin_client, o=f"-{column}")
    assert html.index(make_token_url(other)) < html.index(make_token_url(token))


def test_a_token_is_checked_by_the_button_of_its_page(
    admin_client: Client, token: UpstreamToken
) -> None:
    with serving(SECRET) as upstream:
        move_providers(token.provider, base_url=upstream.url, allow_private=True)
        answer = admin_client.post(make_token_url(token, "check"), follow=True)
    html = answer.content.decode()
    assert "1 checked: 1 works." in html
    assert "ms" in html[html.index("Last check") :]
    assert not TaskProgress.objects.exists()
    assert TokenCheck.objects.get().outcome == "works"


def test_a_token_is_disabled_enabled_and_reset_by_buttons_that_are_noted(
    admin_client: Client, token: UpstreamToken
) -> None:
    html = admin_client.post(make_token_url(token, "disable"), follow=True).content.decode()
    assert "1 upstream token disabled." in html
    assert make_token_url(token, "enable") in html
    admin_client.post(make_token_url(token, "enable"))
    assert UpstreamToken.objects.get().state == "active"
    UpstreamToken.objects.update(strikes=2)
    admin_client.post(make_token_url(token, "reset"))
    assert UpstreamToken.objects.get().strikes == 0
    notes = list(LogEntry.objects.order_by("pk").values_list("change_message", flat=True))
    assert notes == ["Disabled.", "Enabled.", "Reset."]


def test_a_token_is_moved_after_a_page_that_asks_where(
    admin_client: Client, token: UpstreamToken
) -> None:
    target = Provider.objects.create(
        name="right", kind="openai_compatible", base_url="https://api.right.example/v1"
    )
    page = admin_client.get(make_token_url(token, "move"))
    order = page.context["form"].initial["order"]
    assert SECRET not in page.content.decode()
    address = reverse("admin:tokens_upstreamtoken_move_chosen")
    forged = admin_client.post(address, {"order": f"{order}x", "target": target.pk}, follow=True)
    assert "too old" in forged.content.decode()
    assert UpstreamToken.objects.get().provider == token.provider
    html = admin_client.post(address, {"order": order, "target": target.pk}, follow=True)
    assert "1 moved" in html.content.decode()
    assert UpstreamToken.objects.get().provider == target
    assert LogEntry.objects.get().change_message == "Moved to right."


def test_all_that_match_are_moved_by_an_action(admin_client: Client, token: UpstreamToken) -> None:
    target = Provider.objects.create(
        name="right", kind="openai_compatible", base_url="https://api.right.example/v1"
    )
    UpstreamToken.from_secret(token.provider, OTHER, state="disabled").save()
    posted = {"action": "move_tokens", "_selected_action": [str(token.pk)], "select_across": 1}
    page = admin_client.post(f"{TOKENS}?is=usable", posted | {"index": 0})
    order = page.context["form"].initial["order"]
    address = reverse("admin:tokens_upstreamtoken_move_chosen")
    admin_client.post(address, {"order": order, "target": target.pk})
    assert list(target.tokens.all()) == [token]


def test_many_are_left_to_the_worker_and_the_page_shows_the_progress(
    admin_client: Client, token: UpstreamToken, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = []
    monkeypatch.setattr(token_actions, "queue_task", lambda task, *args: sent.append(args))
    monkeypatch.setattr("tokens.bulk.orders.MOST_WRITTEN_NOW", 0)
    answer = run_action(admin_client, "disable_tokens", token)
    html = answer.content.decode()
    row = TaskProgress.objects.get()
    assert sent == [(str(row.pk),)]
    assert answer.redirect_chain[-1][0] == row.url
    assert "data-refresh-again" in html
    assert UpstreamToken.objects.get().state == "active"
    assert carry_on_order(str(row.pk))
    html = admin_client.get(row.url, {"part": 1}).content.decode()
    assert "data-refresh-again" not in html
    assert "<html" not in html
    assert UpstreamToken.objects.get().state == "disabled"


def test_without_a_worker_nothing_is_begun(
    admin_client: Client, token: UpstreamToken, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> None:
        raise WorkerUnreachable("The worker's queue cannot be reached: nothing was begun.")

    monkeypatch.setattr(token_actions, "queue_task", refuse)
    monkeypatch.setattr("tokens.bulk.orders.MOST_WRITTEN_NOW", 0)
    assert "nothing was begun" in run_action(admin_client, "reset_tokens", token).content.decode()
    assert not TaskProgress.objects.exists()


def test_the_history_links_each_change_to_its_request(
    admin_client: Client, token: UpstreamToken
) -> None:
    record_id = "0198a2b3c4d5e6f708192a3b4c5d6e7f"
    Transition.objects.create(
        token=token, at=timezone.now(), before="active", after="disabled", cause=record_id
    )
    html = admin_client.get(make_token_url(token)).content.decode()
    assert f"req_{record_id}</a>" in html
    assert (
        reverse("admin:api_usagerecord_change", args=["0198a2b3-c4d5-e6f7-0819-2a3b4c5d6e7f"])
        in html
    )


def test_a_strike_that_changes_no_state_is_in_the_history(
    admin_client: Client, token: UpstreamToken
) -> None:
    UpstreamToken.objects.add_strike(3, "auth: no", "0198a2b3c4d5e6f708192a3b4c5d6e7f")
    change = Transition.objects.get()
    assert (change.before, change.after, change.reason) == ("active", "active", "auth: no")
    html = admin_client.get(make_token_url(token)).content.decode()
    assert "<td>strike</td>" in html


def test_who_may_only_look_has_no_button_and_no_result_to_stop(
    client: Client, token: UpstreamToken
) -> None:
    looker = User.objects.create_user("looker", is_staff=True)
    looker.user_permissions.add(Permission.objects.get(codename="view_upstreamtoken"))
    client.force_login(looker)
    html = client.get(make_token_url(token)).content.decode()
    for name in ("check", "reset", "enable", "disable", "move"):
        address = make_token_url(token, name)
        assert address not in html
        assert client.post(address).status_code == 403
    row = TaskProgress.objects.create(kind="tokens", title="t", result={"outcomes": {}})
    page = reverse("admin:tokens_upstreamtoken_result", args=[row.pk])
    assert "stop/" not in client.get(page).content.decode()
    for name in ("stop", "resume"):
        address = reverse(f"admin:tokens_upstreamtoken_{name}", args=[row.pk])
        assert client.post(address).status_code == 403
    assert client.get(make_token_url(token, "check")).status_code == 405


def test_a_token_leads_to_its_import_and_actions_reach_all_of_that_import(
    admin_client: Client, token: UpstreamToken
) -> None:
    batch = ImportBatch.objects.create(provider=token.provider, source="keys.txt")
    other = UpstreamToken.from_secret(token.provider, OTHER, import_batch=batch)
    other.save()
    html = admin_client.get(make_token_url(other)).content.decode()
    assert reverse("admin:tokens_importbatch_change", args=[batch.pk]) in html
    query = f"import_batch__exact={batch.pk}"
    assert query in html
    html = admin_client.get(f"{TOKENS}?{query}").content.decode()
    assert is_listed(html, other)
    assert not is_listed(html, token)
    posted = {"action": "disable_tokens", "_selected_action": [str(other.pk)], "select_across": 1}
    admin_client.post(f"{TOKENS}?{query}", posted | {"index": 0})
    assert UpstreamToken.objects.get(state="disabled") == other


def test_actions_on_all_that_match_refuse_a_filter_that_they_cannot_repeat(
    admin_client: Client, token: UpstreamToken
) -> None:
    posted = {"action": "disable_tokens", "_selected_action": [str(token.pk)], "select_across": 1}
    address = f"{TOKENS}?label__exact={token.label}"
    html = admin_client.post(address, posted | {"index": 0}, follow=True).content.decode()
    assert "do not work with this filter" in html
    assert UpstreamToken.objects.get().state == "active"


def test_tokens_that_were_never_used_come_after_those_used_lately(
    admin_client: Client, token: UpstreamToken, other: UpstreamToken
) -> None:
    UpstreamToken.objects.filter(pk=token.pk).update(last_used_at=timezone.now())
    column = 1 + UpstreamTokenAdmin.list_display.index("last_used")
    for order, first, second in ((f"-{column}", token, other), (str(column), other, token)):
        html = read_list(admin_client, o=order)
        assert html.index(make_token_url(first)) < html.index(make_token_url(second))
