"""Who may use the staff endpoints: keys, sessions, permissions, methods."""

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from api import keys
from api.models import ApiKey
from api.tests.endpoints.staff.staff_endpoints import CHANGING_PATHS, READING_PATHS
from proxysite.testing import rows
from tokens.models import UpstreamToken


# --- who may come in ------------------------------------------------------------------------------
@pytest.mark.parametrize("path", [*READING_PATHS, *CHANGING_PATHS])
def test_without_a_credential_a_door_is_shut(request_staff, pooled_provider, path):
    status, found = request_staff(path, key=None)
    assert (status, found["error"]["code"]) == (401, "invalid_api_key")
    assert found.keys() == {"error"}
    assert found["error"].keys() == {"message", "type", "param", "code"}


@pytest.mark.parametrize("path", [*READING_PATHS, *CHANGING_PATHS])
def test_the_key_of_somebody_else_opens_no_door(request_staff, pooled_provider, path):
    mallory = rows.create_person("mallory")
    status, found = request_staff(path, key=mallory.key)
    assert (status, found["error"]["code"]) == (403, "permission_denied")
    assert request_staff(path, key="sk-ps-nobody-knows-this-one")[0] == 401


@pytest.mark.settings(PASSTHROUGH_PROVIDER="k2")
@pytest.mark.parametrize("path", ["tokens/stats", "tokens/reset-all"])
def test_tokens_that_a_caller_brings_along_open_no_door(request_staff, pooled_provider, path):
    assert request_staff(path, key="tok-of-my-own-1,tok-of-my-own-2")[0] == 401


ROLES = {
    "nobody": (),
    "sees providers": ("view_provider",),
    "sees tokens": ("view_upstreamtoken",),
    "sees both": ("view_provider", "view_upstreamtoken"),
    "changes tokens": ("change_upstreamtoken",),
    "adds tokens": ("add_upstreamtoken",),
    "changes providers": ("change_provider",),
}
NEEDED_PERMISSIONS = {
    "tokens/stats": ("upstreamtoken",),
    "tokens/content": ("upstreamtoken",),
    "tokens/consecutive-failures": ("upstreamtoken",),
    "tokens/updater/status": ("upstreamtoken",),
    "status": ("upstreamtoken", "provider"),
    "tokens/reset/0": "change_upstreamtoken",
    "tokens/reset-all": "change_upstreamtoken",
    "tokens/check": "change_upstreamtoken",
    "tokens/reset-consecutive": "change_upstreamtoken",
    "tokens/updater/force-update": "change_upstreamtoken",
    "tokens/reload": "add_upstreamtoken",
    "tokens/update": "add_upstreamtoken",
    "switch_mode": "change_provider",
}


def is_allowed(path, permissions):
    needed = NEEDED_PERMISSIONS[path]
    if isinstance(needed, str):
        return needed in permissions
    return all({f"view_{name}", f"change_{name}"} & set(permissions) for name in needed)


@pytest.mark.parametrize("role", ROLES)
def test_each_door_opens_to_those_whose_permissions_django_asks_for(
    request_staff, pooled_provider, role
):
    assert NEEDED_PERMISSIONS.keys() == {*READING_PATHS, *CHANGING_PATHS}
    member = rows.create_person("member", is_staff=True)
    member.user.user_permissions.add(*Permission.objects.filter(codename__in=ROLES[role]))
    UpstreamToken.objects.all().mark_disabled("by boss")
    client = Client()
    client.force_login(member.user)
    for path in (*READING_PATHS, *CHANGING_PATHS):
        refused = (
            request_staff(path, key=member.key, body={"mode": "guest", "tokens": []})[0] == 403
        )
        assert refused != is_allowed(path, ROLES[role]), path
        if path in READING_PATHS:
            assert (client.get(f"/admin/{path}").status_code == 403) == refused, path
    changes = "change_upstreamtoken" in ROLES[role]
    assert (UpstreamToken.objects.filter(state="disabled").count() == 0) == changes


def test_who_may_only_add_tokens_is_told_no_counts(
    request_staff, pooled_provider, tmp_path, settings
):
    path = tmp_path / "tokens.txt"
    path.write_text("sk-from-the-file-000001\n")
    settings.TOKENS_FILE, settings.TOKENS_PROVIDER = str(path), "k2"
    adder = rows.create_person("adder", is_staff=True)
    adder.user.user_permissions.add(Permission.objects.get(codename="add_upstreamtoken"))
    status, found = request_staff("tokens/reload", key=adder.key)
    assert (status, "data" in found) == (200, False), found
    adder.user.user_permissions.add(Permission.objects.get(codename="view_upstreamtoken"))
    assert "data" in request_staff("tokens/reload", key=adder.key)[1]


def test_a_session_of_the_admin_opens_the_doors_and_changes_things_only_with_the_csrf_token(
    superuser, pooled_provider
):
    client = Client(enforce_csrf_checks=True)
    client.force_login(superuser.user)
    assert client.get("/admin/tokens/stats").status_code == 200
    UpstreamToken.objects.all().mark_disabled("by boss")
    refused = client.post("/admin/tokens/reset-all")
    assert refused.status_code == 403
    assert "CSRF" in refused.json()["error"]["message"]
    assert UpstreamToken.objects.filter(state="disabled").count() == 3
    client.get("/admin/")
    token = client.cookies["csrftoken"].value
    answer = client.post(
        "/admin/tokens/reset-all", "", "application/json", headers={"x-csrftoken": token}
    )
    assert answer.status_code == 200
    assert not UpstreamToken.objects.filter(state="disabled").exists()


def test_a_session_of_somebody_else_opens_no_door(pooled_provider):
    client = Client()
    client.force_login(rows.create_person("mallory").user)
    assert client.get("/admin/tokens/stats").status_code == 403
    assert client.post("/admin/tokens/reset-all").status_code == 403


def test_a_key_of_its_own_counts_more_than_the_session_beside_it(superuser, pooled_provider):
    client = Client(enforce_csrf_checks=True)
    client.force_login(superuser.user)
    mallory = rows.create_person("mallory")
    assert (
        client.get(
            "/admin/tokens/stats", headers={"authorization": f"Bearer {mallory.key}"}
        ).status_code
        == 403
    )
    answer = client.post(
        "/admin/tokens/reset-all", "", "application/json", headers={"x-api-key": superuser.key}
    )
    assert answer.status_code == 200


@pytest.mark.parametrize("path", [*READING_PATHS, *CHANGING_PATHS])
def test_the_wrong_method_is_refused(superuser, pooled_provider, path):
    client, headers = Client(), {"authorization": f"Bearer {superuser.key}"}
    answer = (client.post if path in READING_PATHS else client.get)(
        f"/admin/{path}", headers=headers
    )
    assert answer.status_code == 405
    assert answer.json()["error"]["code"] == "method_not_allowed"


# --- renewal --------------------------------------------------------------------------------------
def test_a_key_for_some_models_opens_no_staff_door(client, operator):
    _, key = keys.create_key(operator.user, name="bot", models=["m"])
    answer = client.post(
        "/admin/tokens/reset-all",
        HTTP_AUTHORIZATION=f"Bearer {key}",
        content_type="application/json",
    )
    assert answer.status_code == 403


def test_nobody_makes_a_key_for_somebody_with_more_rights(client, operator, alice):
    clerk = User.objects.create_user("clerk", password="x", is_staff=True)
    clerk.user_permissions.add(Permission.objects.get(codename="add_apikey"))
    client.force_login(clerk)
    for user, made in ((operator.user, 0), (clerk, 1), (alice.user, 1)):
        before = ApiKey.objects.filter(user=user).count()
        client.post("/admin/api/apikey/add/", {"user": user.pk, "name": "x", "allowed_models": []})
        assert ApiKey.objects.filter(user=user).count() - before == made
