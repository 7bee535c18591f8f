"""The pages of the audit log."""

import csv
import io

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from proxysite.models import AuditEntry

pytestmark = pytest.mark.django_db
LOG = "/admin/proxysite/auditentry/"


def create_entry(**fields: object) -> AuditEntry:
    defaults = {"actor_name": "june", "action": "changed", "model": "api.apikey", "object_id": "7"}
    return AuditEntry.objects.create(**defaults | fields)


def list_names(client: Client, **query: str) -> list[str]:
    answer = client.get(LOG, query)
    assert answer.status_code == 200
    rows = answer.context["cl"].result_list
    return [row.object_name for row in rows if row.action != "login"]


def test_the_log_is_filtered_by_person_kind_action_and_day(admin_client: Client) -> None:
    create_entry(object_name="one", changes={"name": ["a", "b"]})
    create_entry(object_name="two", actor_name="mai", action="deleted", model="api.team")
    today = timezone.localdate().isoformat()
    assert list_names(admin_client) == ["two", "one"]
    assert list_names(admin_client, who="mai") == ["two"]
    assert list_names(admin_client, model="api.apikey") == ["one"]
    assert list_names(admin_client, action="deleted") == ["two"]
    assert list_names(admin_client, **{"from": today, "until": today}) == ["two", "one"]
    assert list_names(admin_client, until="2020-01-01") == []
    assert list_names(admin_client, **{"from": "no day"}) == ["two", "one"]
    assert list_names(admin_client, q="7") == ["two", "one"]


def test_an_entry_shows_each_field_before_and_after(admin_client: Client) -> None:
    entry = create_entry(changes={"name": ["<b>", None]})
    html = admin_client.get(f"{LOG}{entry.pk}/change/").content.decode()
    assert "&lt;b&gt;" in html
    assert "<b>" not in html


def test_what_is_filtered_can_be_had_as_csv_without_formulas(admin_client: Client) -> None:
    create_entry(object_name="=cmd()", changes={"name": ["a", "b"]})
    create_entry(object_name="other", actor_name="mai")
    answer = admin_client.get(f"{LOG}csv/", {"who": "june"})
    lines = list(csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode())))
    assert [(line["object"], line["changes"]) for line in lines] == [
        ("'=cmd()", '{"name": ["a", "b"]}')
    ]
    assert "attachment" in answer.headers["content-disposition"]


def test_nobody_changes_the_log_and_it_needs_its_permission(
    admin_client: Client, client: Client
) -> None:
    entry = create_entry()
    assert admin_client.get(f"{LOG}add/").status_code == 403
    assert admin_client.post(f"{LOG}{entry.pk}/change/", {"message": "x"}).status_code == 403
    assert admin_client.post(f"{LOG}{entry.pk}/delete/", {"post": "yes"}).status_code == 403
    looker = User.objects.create_user("looker", is_staff=True)
    client.force_login(looker)
    for address in (LOG, f"{LOG}csv/"):
        assert client.get(address).status_code == 403
    looker.user_permissions.add(Permission.objects.get(codename="view_auditentry"))
    assert client.get(LOG).status_code == 200
