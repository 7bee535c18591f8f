"""A provider's page tests its connection and syncs its models: only what is ticked is written."""

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse

from providers.models import ChatModel, Provider
from proxysite.testing.rows import create_model, move_providers
from tokens.admin.provider_pages import connection_page
from tokens.dialect_probe.connection_test import ConnectionReport, Step
from tokens.maintenance.model_diff import ListedModel, compare_models, read_listed_model
from tokens.models import UpstreamToken
from tokens.tests.admin.admin_pages import SECRET
from tokens.tests.listing import serving

pytestmark = pytest.mark.django_db


def make_address(page: str, provider: Provider) -> str:
    return reverse(f"admin:providers_provider_{page}", args=[provider.pk])


# --- sync -----------------------------------------------------------------------------------------
def test_only_ticked_differences_are_written(admin_client: Client, token: UpstreamToken) -> None:
    provider = token.provider
    gone = create_model(provider, "old-model", "old-model")
    kept = create_model(provider, "older-model", "older-model")
    with serving(SECRET) as upstream:
        upstream.models = ["kimi-k2", "kimi-k2-thinking", "old-model-2"]
        move_providers(provider, base_url=upstream.url, allow_private=True)
        html = admin_client.post(
            make_address("sync", provider), {"prefix": "moon/"}, follow=True
        ).content.decode()
        asked = len(upstream.asked)
        admin_client.get(make_address("sync", provider))
        assert len(upstream.asked) == asked  # a reload asks nothing
    assert not provider.models.filter(upstream_name="kimi-k2").exists()
    assert "3 new" in html
    assert "moon/kimi-k2" in html
    ticked = {"new": ["kimi-k2"], "gone": [gone.pk]}
    html = admin_client.post(make_address("apply_sync", provider), ticked, follow=True)
    assert "2 models were written." in html.content.decode()
    enabled = set(provider.models.filter(enabled=True).values_list("public_id", flat=True))
    assert enabled == {"moon/kimi-k2", kept.public_id}
    assert LogEntry.objects.get().change_message == "Models synced: 2 written."


def test_names_that_no_model_can_have_fill_no_session(
    admin_client: Client, token: UpstreamToken
) -> None:
    with serving(SECRET) as upstream:
        upstream.models = ["kimi-k2", "<b>" + "x" * 50_000]
        move_providers(token.provider, base_url=upstream.url, allow_private=True)
        html = admin_client.post(make_address("sync", token.provider), follow=True).content
        assert b"1 new" in html
        admin_client.post(make_address("test", token.provider), follow=True)
    assert len(str(dict(admin_client.session))) < 10_000


def test_an_upstream_that_lists_nothing_changes_nothing(
    admin_client: Client, token: UpstreamToken
) -> None:
    create_model(token.provider, "a-model", "a-model")
    with serving() as upstream:
        move_providers(token.provider, base_url=upstream.url, allow_private=True)
        html = admin_client.post(make_address("sync", token.provider), follow=True)
    assert "does not say which models it has" in html.content.decode()
    html = admin_client.post(make_address("apply_sync", token.provider), {"gone": [1]}, follow=True)
    assert "ask for it again" in html.content.decode()
    assert ChatModel.objects.get().enabled


def test_context_windows_and_returned_models_are_differences(provider: Provider) -> None:
    same = create_model(provider, "same", "same")
    wider = create_model(provider, "wider", "wider")
    off = create_model(provider, "off", "off")
    ChatModel.objects.filter(pk=wider.pk).update(context_window=8_192)
    ChatModel.objects.filter(pk=off.pk).update(enabled=False)
    listed = [ListedModel("same"), ListedModel("wider", 131_072), ListedModel("off")]
    diff = compare_models(provider, [*listed, ListedModel("two words"), ListedModel("new", 32_768)])
    assert [(one.row.pk, one.differences) for one in diff.changed] == [
        (wider.pk, [(8_192, 131_072)])
    ]
    assert diff.returned == [off]
    assert diff.unusable == ["two words"]
    assert [one.listed for one in diff.new] == [ListedModel("new", 32_768)]
    assert (diff.same, diff.gone) == (1, [])
    assert same.public_id == "same"


@pytest.mark.parametrize(
    ("entry", "window", "most_output"),
    [
        ({"context_length": 200_000, "top_provider": {"max_completion_tokens": 8}}, 200_000, 8),
        ({"context_window": 131_072, "max_completion_tokens": 32_768}, 131_072, 32_768),
        ({"max_model_len": 32_768}, 32_768, None),
        ({"inputTokenLimit": 1_048_576, "outputTokenLimit": 65_536}, 1_048_576, 65_536),
        ({"max_input_tokens": 200_000, "max_tokens": 64_000}, 200_000, 64_000),
        ({"context_length": "much", "max_tokens": -1}, None, None),
        ({"context_length": 2**40}, None, None),
    ],
)
def test_facts_are_read_under_the_names_that_services_use(
    entry: dict[str, object], window: int | None, most_output: int | None
) -> None:
    assert read_listed_model("m", entry) == ListedModel("m", window, most_output)


# --- test -----------------------------------------------------------------------------------------
def test_the_page_shows_the_last_test_and_applies_what_it_proposes(
    admin_client: Client, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def pretend(row: Provider, model: str, **options: object) -> ConnectionReport:
        calls.append((row.name, model, options))
        steps = [Step("dns", "good", "<b>127.0.0.1</b>", 3)]
        return ConnectionReport("m", steps, {"native_tools": False})

    monkeypatch.setattr(connection_page, "run_connection_test", pretend)
    page = make_address("test", provider)
    answer = admin_client.post(page, {"model": "m"})
    assert (answer.status_code, answer.headers["location"]) == (303, page)
    for _ in range(2):
        html = admin_client.get(page).content.decode()
    assert calls == [("moonshot", "m", {"examines_dialect": False})]
    assert "&lt;b&gt;127.0.0.1" in html
    assert "native_tools" in html
    assert provider.native_tools
    html = admin_client.post(make_address("apply_test", provider), follow=True).content.decode()
    assert not Provider.objects.get().native_tools
    assert "nothing to change" in html
    assert "native_tools" in LogEntry.objects.get().change_message


def test_nothing_is_applied_without_a_test_of_this_session(
    admin_client: Client, provider: Provider
) -> None:
    html = admin_client.post(make_address("apply_test", provider), follow=True).content.decode()
    assert "test the connection again" in html
    assert not LogEntry.objects.exists()


def test_who_may_only_look_neither_tests_nor_syncs(client: Client, provider: Provider) -> None:
    from django.contrib.auth.models import Permission, User

    looker = User.objects.create_user("looker", is_staff=True)
    looker.user_permissions.add(*Permission.objects.filter(codename__startswith="view_"))
    client.force_login(looker)
    html = client.get(make_address("change", provider)).content.decode()
    for page in ("test", "apply_test", "sync", "apply_sync"):
        assert client.post(make_address(page, provider)).status_code == 403
        assert make_address(page, provider) not in html
