"""Who may delete whom, and who may change a deletion."""

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from providers.models import Deletion
from proxysite.tests.deletions.deletion_rows import delete_in_admin

pytestmark = pytest.mark.usefixtures("transactional_db")


def test_who_may_change_users_gives_no_rights_and_touches_no_other_staff(operator):
    ops = User.objects.create_user("ops", is_staff=True)
    names = ("view_user", "change_user", "delete_user")
    ops.user_permissions.add(*Permission.objects.filter(codename__in=names))
    client = Client()
    client.force_login(ops)
    own = f"/admin/auth/user/{ops.pk}/change/"
    assert 'name="is_superuser"' not in client.get(own).content.decode()
    client.post(own, {"username": "ops", "is_active": "on", "is_staff": "on", "is_superuser": "on"})
    ops.refresh_from_db()
    assert not ops.is_superuser
    assert client.post(f"/admin/auth/user/{operator.user.pk}/password/", {}).status_code == 403
    assert (
        client.post(f"/admin/auth/user/{operator.user.pk}/delete/", {"post": "yes"}).status_code
        == 403
    )
    posted = {
        "action": "delete_selected",
        "_selected_action": [str(operator.user.pk)],
        "post": "yes",
    }
    client.post("/admin/auth/user/", posted)
    assert User.objects.filter(pk=operator.user.pk, is_active=True).exists()


def test_deletions_are_looked_at_and_not_changed(alice, browser):
    delete_in_admin(browser, "auth/user", alice.user.pk)
    row = Deletion.objects.get()
    assert (row.name, row.requested_by) == ("alice", "operator")
    page = browser.get(f"/admin/providers/deletion/{row.pk}/change/").content.decode()
    assert 'name="_save"' not in page
    assert delete_in_admin(browser, "providers/deletion", row.pk).status_code == 403
