"""The export of tokens: after the password, noted in the history, and importable again."""

import json
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from providers.models import Provider
from tokens.imports import token_import
from tokens.imports.account_import import import_accounts
from tokens.imports.formats.source_lines import FoundCredential, Login
from tokens.imports.import_text import read_upload
from tokens.models import UpstreamToken

pytestmark = pytest.mark.django_db
SECRETS = [f"sk-secret-{number}-0123456789abcdef" for number in range(3)]
EXPORT = "/admin/tokens/upstreamtoken/export/"
PASSPHRASE = "correct horse battery staple"


@pytest.fixture
def provider() -> Provider:
    row = Provider.objects.create(
        name="acme", kind="k2think_web", base_url="https://api.example.com/v1"
    )
    token_import.import_lines(row, SECRETS)
    import_accounts(row, [FoundCredential(Login("june@example.org", "=1+1"))], None, False)
    return row


@pytest.fixture
def operator(client: Client, settings: Any) -> Client:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    client.force_login(User.objects.create_superuser("operator", password="operator"))
    return client


@pytest.fixture
def confirmed(operator: Client) -> Client:
    """The operator, who has just entered the password again."""
    answer = operator.post(reverse("confirm-password"), {"password": "operator", "next": EXPORT})
    assert (answer.status_code, answer.headers["location"]) == (302, EXPORT)
    return operator


def read_file(answer: Any) -> str:
    async def collect() -> bytes:
        return b"".join([piece async for piece in answer.streaming_content])

    return async_to_sync(collect)().decode()


def export(client: Client, query: str = "", **values: str) -> str:
    answer = client.post(f"{EXPORT}{query}", values)
    assert answer.status_code == 200
    assert "no-store" in answer.headers["cache-control"]
    assert "attachment" in answer.headers["content-disposition"]
    return read_file(answer)


# --- the password ---------------------------------------------------------------------------------
def test_an_export_asks_for_the_password_first(operator: Client, provider: Provider) -> None:
    for answer in (operator.get(EXPORT), operator.post(EXPORT, {"form": "lines"})):
        assert answer.headers["location"].startswith("/admin/confirm-password/?next=")
    wrong = operator.post(reverse("confirm-password"), {"password": "wrong", "next": EXPORT})
    assert "This is not your password." in wrong.content.decode()
    assert operator.get(EXPORT).status_code == 302


def test_a_confirmed_password_holds_for_a_while(confirmed: Client, settings: Any) -> None:
    assert confirmed.get(EXPORT).status_code == 200
    settings.REAUTHENTICATION_SECONDS = 0
    assert confirmed.get(EXPORT).status_code == 302


def test_the_page_of_the_password_leads_to_no_other_site(operator: Client) -> None:
    answer = operator.post(
        reverse("confirm-password"), {"password": "operator", "next": "https://evil.example/"}
    )
    assert answer.headers["location"] == "/admin/"


def test_wrong_passwords_are_counted_as_failed_logins(operator: Client, settings: Any) -> None:
    settings.AXES_FAILURE_LIMIT = 3
    for _ in range(4):
        operator.post(reverse("confirm-password"), {"password": "wrong"})
    answer = operator.post(reverse("confirm-password"), {"password": "operator", "next": EXPORT})
    assert answer.headers.get("location") != EXPORT
    assert operator.get(EXPORT).status_code == 302


def test_the_page_waits_at_the_gate_for_hashed_passwords(rf: Any) -> None:
    from proxysite.access.password_gate import may_hash_password

    assert may_hash_password(rf.post(reverse("confirm-password")))


def test_who_may_look_at_tokens_may_not_export_them(client: Client, provider: Provider) -> None:
    person = User.objects.create_user("june", is_staff=True)
    person.user_permissions.set(Permission.objects.filter(codename="view_upstreamtoken"))
    client.force_login(person)
    assert client.get(EXPORT).status_code == 403
    assert "Export these" not in client.get("/admin/tokens/upstreamtoken/").content.decode()


# --- the file -------------------------------------------------------------------------------------
def test_lines_are_the_tokens_and_accounts(confirmed: Client, provider: Provider) -> None:
    lines = export(confirmed, form="lines").splitlines()
    assert sorted(lines) == sorted([*SECRETS, "june@example.org:=1+1"])


def test_only_the_chosen_or_filtered_tokens_are_exported_and_noted(
    confirmed: Client, provider: Provider
) -> None:
    row = UpstreamToken.objects.filter(account=None).order_by("pk")[0]
    assert len(export(confirmed, f"?ids={row.pk},nonsense", form="lines").splitlines()) == 1
    UpstreamToken.objects.filter(pk=row.pk).mark_disabled("by june")
    assert len(export(confirmed, "?is=disabled", form="lines").splitlines()) == 1
    notes = [note.change_message for note in LogEntry.objects.order_by("pk")]
    assert notes == [
        "Exported with their secrets: 1 as lines; the chosen tokens.",
        "Exported with their secrets: 1 as lines; is=disabled.",
    ]
    assert not any(secret in " ".join(notes) for secret in SECRETS)


def test_ticked_tokens_lead_to_the_page_of_their_export(
    confirmed: Client, provider: Provider
) -> None:
    rows = UpstreamToken.objects.order_by("pk")[:2]
    posted = {"action": "export_tokens", "_selected_action": [str(row.pk) for row in rows]}
    answer = confirmed.post("/admin/tokens/upstreamtoken/", posted | {"index": 0})
    assert answer.headers["location"].startswith(EXPORT)
    page = confirmed.get(answer.headers["location"]).content.decode()
    assert "secrets of 2 tokens" in page


def test_a_table_has_no_formulas_and_can_be_imported(confirmed: Client, provider: Provider) -> None:
    table = export(confirmed, form="csv")
    assert "'=1+1" in table
    assert ",=1+1" not in table
    assert reimport(provider, table) == {"new": 4}


def test_json_can_be_imported(confirmed: Client, provider: Provider) -> None:
    UpstreamToken.objects.filter(account=None).update(label="of June")
    text = export(confirmed, form="json")
    assert {json.loads(line)["provider"] for line in text.splitlines()} == {"acme"}
    assert reimport(provider, text) == {"new": 4}
    assert UpstreamToken.objects.filter(label="of June").count() == 3


def test_a_bundle_shows_nothing_and_opens_with_its_passphrase(
    confirmed: Client, provider: Provider
) -> None:
    text = export(confirmed, form="bundle", passphrase=PASSPHRASE, repeated=PASSPHRASE)
    assert not any(word in text for word in (*SECRETS, "june@", "acme", "=1+1"))
    assert reimport(provider, text) == {"new": 4}


@pytest.mark.parametrize(
    "values", [{"passphrase": "short", "repeated": "short"}, {}, {"passphrase": PASSPHRASE}]
)
def test_a_bundle_needs_a_good_passphrase_twice(
    confirmed: Client, provider: Provider, values: dict[str, str]
) -> None:
    answer = confirmed.post(EXPORT, {"form": "bundle", **values})
    assert not answer.streaming
    assert PASSPHRASE not in answer.content.decode()
    assert not LogEntry.objects.exists()


def test_a_secret_that_cannot_be_opened_stops_nothing(
    confirmed: Client, provider: Provider
) -> None:
    row = UpstreamToken.objects.filter(account=None).order_by("pk")[0]
    UpstreamToken.objects.filter(pk=row.pk).update(sealed="v1.gone.AAAA")
    lines = export(confirmed, form="lines").splitlines()
    assert len(lines) == 4
    assert [line for line in lines if line.startswith("#")] == [
        f"# {row.masked}: its secret cannot be opened with this gateway's FIELD_KEYS"
    ]


def reimport(provider: Provider, text: str) -> dict[str, int]:
    """Delete all tokens, import the text, and return the counts of its verdicts."""
    provider.accounts.all().delete()
    provider.tokens.all().delete()
    report = token_import.import_lines(provider, read_upload(text.encode(), PASSPHRASE))
    return dict(report.verdict_counts)
