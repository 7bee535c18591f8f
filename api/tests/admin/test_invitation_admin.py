"""The admin of invitations: a link is shown once, and staff give no rights that are not theirs."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission, User
from django.test import Client
from django.utils import timezone

from api.invitations.invitation_links import find_open_invitation
from api.models import Invitation
from providers.models import Provider

pytestmark = pytest.mark.django_db
INVITATIONS = "/admin/api/invitation/"


def make_form(client: Client, **values: Any) -> dict[str, Any]:
    html = client.get(f"{INVITATIONS}add/").content.decode()
    (number,) = re.findall(r'name="form_number" value="([^"]+)"', html)
    end = timezone.now() + timedelta(days=3)
    fields = {
        "name": "course",
        "most_uses": "2",
        "expires_at_0": f"{end:%Y-%m-%d}",
        "expires_at_1": "12:00:00",
        "may_issue_keys": "on",
        "form_number": number,
    }
    return fields | values


def read_secret(answer: Any) -> str:
    (secret,) = set(re.findall(r"/portal/join/([A-Za-z0-9_-]{43})/", answer.content.decode()))
    return str(secret)


def test_a_link_is_shown_once_and_works(admin_client: Client) -> None:
    form = make_form(admin_client, limits="rpm=60")
    answer = admin_client.post(f"{INVITATIONS}add/", form)
    secret = read_secret(answer)
    assert "no-store" in answer.headers["cache-control"]
    invitation = find_open_invitation(secret)
    assert invitation is not None
    assert (invitation.most_uses, invitation.limits) == (2, "rpm=60")
    pages = [
        admin_client.get(INVITATIONS),
        admin_client.get(f"{INVITATIONS}{invitation.pk}/change/"),
    ]
    shown = "".join(page.content.decode() for page in pages)
    assert secret not in shown + str(LogEntry.objects.values_list())
    assert LogEntry.objects.filter(object_repr="course").exists()
    again = admin_client.post(f"{INVITATIONS}add/", form)
    assert "made its link already" in again.content.decode()
    assert Invitation.objects.count() == 1


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"limits": "rpm=many"}, "rpm"),
        ({"allowed_models": "nothing"}, "No such model"),
        ({"expires_at_0": "2020-01-01"}, "The time has passed"),
        ({"expires_at_0": "2099-01-01"}, "at most 90 days"),
        ({"most_uses": "0"}, "greater than or equal to 1"),
    ],
)
def test_terms_that_cannot_hold_are_refused(
    admin_client: Client, provider: Provider, values: dict[str, str], problem: str
) -> None:
    answer = admin_client.post(f"{INVITATIONS}add/", make_form(admin_client, **values))
    assert problem in answer.content.decode()
    assert not Invitation.objects.exists()


def test_only_a_superuser_invites_members_of_staff(admin_client: Client) -> None:
    role = Group.objects.create(name="Watchers")
    clerk = User.objects.create_user("clerk", is_staff=True)
    clerk.user_permissions.set(
        Permission.objects.filter(codename__in=("add_invitation", "view_invitation"))
    )
    client = Client()
    client.force_login(clerk, "django.contrib.auth.backends.ModelBackend")
    client.post(f"{INVITATIONS}add/", make_form(client, role=role.pk))
    assert Invitation.objects.get().role is None
    admin_client.post(f"{INVITATIONS}add/", make_form(admin_client, role=role.pk))
    assert Invitation.objects.filter(role=role).count() == 1


def test_a_revoked_invitation_cannot_be_used(admin_client: Client) -> None:
    answer = admin_client.post(f"{INVITATIONS}add/", make_form(admin_client))
    secret = read_secret(answer)
    row = Invitation.objects.get()
    admin_client.post(INVITATIONS, {"action": "revoke", "_selected_action": [row.pk]})
    assert find_open_invitation(secret) is None
    assert LogEntry.objects.filter(change_message="Revoked.").exists()
    assert "revoked" in admin_client.get(INVITATIONS).content.decode()
