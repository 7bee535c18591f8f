"""The ready-made roles: what they may, and that an update undoes no change of an operator."""

import pytest
from django.contrib.auth.models import Group, Permission, User

from proxysite.models import Role
from proxysite.people import roles

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _roles() -> None:
    roles.update_roles()


def join(role: str, name: str = "june") -> User:
    user = User.objects.create_user(name, is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    return user


def find(codename: str) -> Permission:
    return Permission.objects.get(codename=codename)


def test_there_are_four_and_each_named_right_exists() -> None:
    names = {definition.name for definition in roles.ROLES}
    assert names == {"Viewer", "Operator", "Billing", "Administrator"}
    later = {"api.invitation", "tokens.importbatch"}  # of models that a later version may add
    for definition in roles.ROLES:
        wanted = roles.list_permission_names(
            {model: actions for model, actions in definition.rights.items() if model not in later}
        ) - {roles.READ_CONTENT}
        assert wanted == set(roles.find_permissions(wanted, "default")), definition.name


def test_a_viewer_changes_nothing_and_reads_no_content() -> None:
    rights = join("Viewer").get_all_permissions()
    assert "api.view_usagerecord" in rights
    assert {right for right in rights if ".view_" not in right} == set()
    assert not any(right.startswith("conversations.") for right in rights)
    assert "proxysite.view_auditentry" not in rights


def test_money_and_machines_are_apart() -> None:
    operator = join("Operator", "op").get_all_permissions()
    billing = join("Billing", "money").get_all_permissions()
    assert {"tokens.change_upstreamtoken", "api.add_apikey"} <= operator - billing
    assert {"api.change_price"} <= billing - operator


def test_an_administrator_reads_content_and_the_log_but_gives_no_rights() -> None:
    rights = join("Administrator").get_all_permissions()
    assert {"conversations.view_conversation", "proxysite.view_auditentry"} <= rights
    assert not {"auth.change_group", "auth.add_group", "auth.change_permission"} & rights


def test_updating_again_changes_nothing() -> None:
    before = list(Group.permissions.through.objects.order_by("pk").values_list())
    roles.update_roles()
    assert list(Group.permissions.through.objects.order_by("pk").values_list()) == before


def test_changes_of_an_operator_survive_updates() -> None:
    group = Group.objects.get(name="Viewer")
    group.permissions.remove(find("view_upstreamtoken"))
    group.permissions.add(find("add_price"))
    group.name = "Guests"
    group.save()
    roles.update_roles()
    codes = set(group.permissions.values_list("codename", flat=True))
    assert "view_upstreamtoken" not in codes
    assert "add_price" in codes
    assert not Group.objects.filter(name="Viewer").exists()


def test_a_role_that_was_deleted_stays_away() -> None:
    Group.objects.get(name="Billing").delete()
    roles.update_roles()
    assert not Group.objects.filter(name="Billing").exists()


def test_a_right_that_a_new_version_adds_reaches_the_role(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    viewer = next(definition for definition in roles.ROLES if definition.name == "Viewer")
    monkeypatch.setitem(viewer.rights, "api.limitlease", ("view",))
    roles.update_roles()
    assert find("view_limitlease") in Group.objects.get(name="Viewer").permissions.all()
    assert "api.view_limitlease" in Role.objects.get(name="Viewer").granted
