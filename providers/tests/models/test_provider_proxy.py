"""The proxy of a provider: its own, the settings', or none; and its password."""

import io
import sys
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from providers import vault
from providers.catalogue.catalogue_rows import make_upstream, read_catalogue_rows
from providers.checks import check_proxy_setting
from providers.models import Provider
from providers.network.proxies.outbound_proxy import OutboundProxy, parse_proxy_url
from providers.tests.command_runner import refused, run

pytestmark = pytest.mark.django_db
URL = "http://june:pa%40ss@proxy.example:8080"
PROXY = OutboundProxy("http", "proxy.example", 8080, "june", "pa@ss")


def create_provider(name: str = "acme", **fields: Any) -> Provider:
    values = {"kind": "openai_compatible", "base_url": "https://acme.example/v1"}
    return Provider.objects.create(name=name, **values, **fields)


# --- rows -----------------------------------------------------------------------------------------
def test_a_password_is_sealed_and_used() -> None:
    create_provider(proxy_url=URL)
    row = Provider.objects.get()
    assert row.proxy_url == "http://june@proxy.example:8080"
    assert "pa" not in vault.read_key_id(row.sealed_proxy_password)
    assert row.sealed_proxy_password.startswith("v1.")
    upstream = make_upstream(row)
    assert upstream.proxy == PROXY
    assert "pa@ss" not in repr(upstream)


def test_the_password_stays_while_the_proxy_stays_and_no_other_proxy_gets_it() -> None:
    row = create_provider(proxy_url=URL)
    row.rotation = "random"
    row.save()
    assert Provider.objects.get().find_proxy() == PROXY
    row.proxy_url = "http://june@evil.example:8080"
    row.save()
    moved = Provider.objects.get()
    assert moved.find_proxy() == OutboundProxy("http", "evil.example", 8080, "june", "")
    assert moved.sealed_proxy_password == ""


def test_a_password_that_does_not_open_is_left_out_and_the_proxy_is_still_used(
    settings: Any,
) -> None:
    row = create_provider(proxy_url=URL)
    Provider.objects.update(sealed_proxy_password="v1.gone.AAAA")
    row.refresh_from_db()
    assert row.find_proxy() == OutboundProxy("http", "proxy.example", 8080, "june", "")


def test_the_setting_is_for_all_but_those_on_this_network(settings: Any) -> None:
    settings.PROXY_URL = "socks5://127.0.0.1:1080"
    default = OutboundProxy("socks5", "127.0.0.1", 1080)
    assert create_provider("public").find_proxy() == default
    assert create_provider("local", allow_private=True).find_proxy() is None
    assert create_provider("direct", proxy_url="direct").find_proxy() is None
    assert create_provider("own", allow_private=True, proxy_url=URL).find_proxy() == PROXY


def test_a_setting_that_cannot_be_used_is_one_error_of_the_checks(settings: Any) -> None:
    settings.PROXY_URL = "http://june:secret@proxy.example/path"
    (error,) = check_proxy_setting()
    assert error.msg.startswith("PROXY_URL: A proxy's address is")
    assert "secret" not in error.msg


def test_a_provider_with_a_broken_proxy_is_left_out_and_the_others_stay() -> None:
    broken, good = create_provider("broken"), create_provider("good")
    Provider.objects.filter(pk=broken.pk).update(proxy_url="nonsense")
    catalogue_rows = read_catalogue_rows()
    assert [upstream.name for upstream in catalogue_rows.upstreams] == [good.name]
    assert catalogue_rows.set_aside_ids == {broken.pk}


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        "127.0.0.1:7890",
        "ftp://june:secret@h",
        "http://june:secret@",
        "http://h/path",
        "http://h:99999",
    ],
)
def test_a_wrong_address_is_an_error_without_its_password(text: str) -> None:
    with pytest.raises(ValueError, match=r"^(A proxy's address is|The proxy's address)") as caught:
        parse_proxy_url(text)
    assert "secret" not in str(caught.value)


# --- the command ----------------------------------------------------------------------------------
ADD = ("add_provider", "acme", "--kind", "openai_compatible", "--base-url", "https://a.example/v1")


def test_the_command_asks_for_the_password_of_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("pa@ss\n"))
    run(*ADD, "--proxy", "http://june@proxy.example:8080")
    assert Provider.objects.get().find_proxy() == PROXY
    run(*ADD)
    assert Provider.objects.get().find_proxy() == PROXY, "what is not named stays"
    run(*ADD, "--proxy", "")
    assert Provider.objects.get().find_proxy() is None


def test_a_password_in_the_command_is_taken_with_a_warning() -> None:
    notes = io.StringIO()
    printed = run(*ADD, "--proxy", URL, notes=notes)
    assert "list of processes" in notes.getvalue().replace("\n", " ")
    assert "pa@ss" not in printed + notes.getvalue()
    assert Provider.objects.get().find_proxy() == PROXY
    assert refused(*ADD, "--proxy", "ftp://june:secret@h").startswith("A proxy's address is")


# --- the admin ------------------------------------------------------------------------------------
def read_form(client: Client, row: Provider) -> tuple[dict[str, str], str]:
    """Return the values of the change form and its HTML."""
    page = client.get(f"/admin/providers/provider/{row.pk}/change/")
    form = page.context["adminform"].form
    values = {name: field.value() for name, field in ((f.name, f) for f in form)}
    values["headers"] = "{}"
    formset = {"models-TOTAL_FORMS": "0", "models-INITIAL_FORMS": "0"}
    values = {name: value for name, value in values.items() if value not in (None, False)}
    return values | formset, page.content.decode()


def test_the_admin_takes_a_password_and_never_shows_it() -> None:
    row = create_provider()
    client = Client()
    client.force_login(User.objects.create_superuser("root", password="x"))
    values, _ = read_form(client, row)
    address = f"/admin/providers/provider/{row.pk}/change/"
    wrong = client.post(address, values | {"proxy_url": URL, "base_url": "no URL"})
    assert wrong.status_code == 200
    assert "pa%40ss" not in wrong.content.decode()
    assert client.post(address, values | {"proxy_url": URL}).status_code == 302
    values, page = read_form(client, row)
    assert "http://june@proxy.example:8080" in page
    assert "pa%40ss" not in page
    assert client.post(address, values | {"rotation": "random"}).status_code == 302
    assert Provider.objects.get().find_proxy() == PROXY


def test_only_a_superuser_may_change_the_proxy() -> None:
    row = create_provider()
    staff = User.objects.create_user("staff", is_staff=True)
    staff.user_permissions.set(Permission.objects.filter(codename__endswith="_provider"))
    client = Client()
    client.force_login(staff)
    values, _ = read_form(client, row)
    client.post(f"/admin/providers/provider/{row.pk}/change/", values | {"proxy_url": URL})
    assert Provider.objects.get().proxy_url == ""
