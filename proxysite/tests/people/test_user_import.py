"""Users from CSV: verdicts first, then the rows."""

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from api.models import Team
from proxysite.people.user_import import UnreadableFile, read_lines

pytestmark = pytest.mark.django_db
PAGE = "/admin/auth/user/import/"
TABLE = """username;email;team;role
june;june@example.org;Research;
mai;;;Helpers
alice;;;
june;;;
no name;broken;Nowhere;Nobody
"""


@pytest.fixture(autouse=True)
def _rows() -> None:
    Team.objects.create(name="Research")
    Group.objects.create(name="Helpers")
    User.objects.create_user("alice")


def test_nothing_is_written_before_the_verdicts_were_seen(admin_client: Client) -> None:
    file = SimpleUploadedFile("users.csv", TABLE.encode("utf-16"))
    answer = admin_client.post(PAGE, {"file": file})
    html = answer.content.decode()
    assert "2 users would be made." in html
    assert "3 lines would be left out." in html
    for problem in ("exists already", "twice in the file", "no such team: Nowhere"):
        assert problem in html
    assert not User.objects.filter(username="june").exists()


def test_good_lines_become_users_with_team_and_role(admin_client: Client) -> None:
    answer = admin_client.post(PAGE, {"text": TABLE, "apply": "yes"}, follow=True)
    assert "2 users imported." in answer.content.decode()
    june = User.objects.get(username="june")
    assert (june.email, june.is_staff) == ("june@example.org", False)
    assert june.team_membership.team.name == "Research"
    assert not june.has_usable_password()
    mai = User.objects.get(username="mai")
    assert mai.is_staff
    assert [group.name for group in mai.groups.all()] == ["Helpers"]


def test_only_a_superuser_imports_roles(client: Client) -> None:
    ops = User.objects.create_user("ops", is_staff=True)
    client.force_login(ops)
    assert client.get(PAGE).status_code == 403
    ops.user_permissions.add(Permission.objects.get(codename="add_user"))
    client.post(PAGE, {"text": TABLE, "apply": "yes"})
    assert User.objects.count() == 2, "teams need the right to add members, too"
    ops.user_permissions.add(Permission.objects.get(codename="add_teammember"))
    client.post(PAGE, {"text": TABLE, "apply": "yes"})
    assert not User.objects.filter(username="mai").exists()
    assert User.objects.filter(username="june").exists()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "nothing in it"),
        ("june\nmai\n", "must name the columns"),
        ("username,shoe size\njune,7\n", "shoe size"),
        ("username\n", "no users below"),
        ("username\n" + "a\n" * 6, "more than 5 users"),
    ],
)
@pytest.mark.settings(USER_IMPORT_LINES=5)
def test_what_is_no_table_of_users_is_refused_in_words(
    admin_client: Client, text: str, reason: str
) -> None:
    assert reason in admin_client.post(PAGE, {"text": text}).content.decode()


@given(st.text(max_size=300))
def test_any_text_is_lines_or_refused(text: str) -> None:
    try:
        lines = read_lines(f"username,email\n{text}", 1_000)
    except UnreadableFile:
        return
    assert all(line.values for line in lines)
