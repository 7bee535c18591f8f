"""The staff doors under /admin/: who may come in, the keys of each answer, and what each deed
changes.
"""

import json
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from api import keys
from api.models import ApiKey
from api.views.staff import token_renewal
from providers import vault
from providers.adapters import openai_compatible
from providers.database.database_threads import run_in_thread
from providers.models import Provider
from proxysite.testing import rows, wait_until_true
from proxysite.testing.upstream import send_refusal, send_stream
from tokens.models import Refresh, UpstreamToken

SECRETS = (
    "sk-first-of-the-pool-000001",
    "sk-second-of-the-pool-0002",
    "sk-third-of-the-pool-00003",
)
LOOKS = (
    *(
        "tokens/stats",
        "tokens/content",
        "tokens/consecutive-failures",
        "tokens/updater/status",
        "status",
    ),
)
DEEDS = (
    *("tokens/reset/0", "tokens/reset-all", "tokens/reload", "tokens/check", "tokens/update"),
    *("tokens/reset-consecutive", "tokens/updater/force-update", "switch_mode"),
)
STANDING = {"total", "active", "inactive", "resting", "exhausted", "failing", "disabled", "expired"}


@pytest.fixture
def boss(db):
    return rows.create_person("boss", is_staff=True, is_superuser=True)


@pytest.fixture
def pool(db):
    """The provider `k2`, which has an entrance for guests, with three tokens."""
    row = rows.create_provider("http://127.0.0.1:9/v1", "k2")
    rows.create_tokens(row, *SECRETS)
    return row


@pytest.fixture
def guests(monkeypatch):
    """The adapter has an entrance for guests."""
    monkeypatch.setattr(openai_compatible.Adapter, "modes", ("user", "guest"))


@pytest.fixture
def ask(boss):
    """Ask a door with the key of a member of staff, who may do everything; the answer's status and
    JSON.
    """

    def asked(path, key=boss.key, body=None, **query):
        client = Client()
        headers = {"authorization": f"Bearer {key}"} if key else {}
        if path in LOOKS:
            answer = client.get(f"/admin/{path}", query, headers=headers)
        else:
            data = "" if body is None else json.dumps(body)
            address = f"/admin/{path}" + (f"?provider={query['provider']}" if query else "")
            answer = client.post(address, data, content_type="application/json", headers=headers)
        assert answer.headers["content-type"] == "application/json", answer.content
        assert answer.headers["cache-control"] == "no-store"
        assert not any(secret in answer.content.decode() for secret in SECRETS)
        return answer.status_code, answer.json()

    return asked


def mistaken(answer):
    """The message of a 400 in the proxy's form."""
    status, found = answer
    assert (status, found["status"], found.keys()) == (400, "error", {"status", "message"}), answer
    return found["message"]


# --- who may come in ------------------------------------------------------------------------------
@pytest.mark.parametrize("path", [*LOOKS, *DEEDS])
def test_without_a_credential_a_door_is_shut(ask, pool, path):
    status, found = ask(path, key=None)
    assert (status, found["error"]["code"]) == (401, "invalid_api_key")
    assert found.keys() == {"error"}
    assert found["error"].keys() == {"message", "type", "param", "code"}


@pytest.mark.parametrize("path", [*LOOKS, *DEEDS])
def test_the_key_of_somebody_else_opens_no_door(ask, pool, path):
    mallory = rows.create_person("mallory")
    status, found = ask(path, key=mallory.key)
    assert (status, found["error"]["code"]) == (403, "permission_denied")
    assert ask(path, key="sk-ps-nobody-knows-this-one")[0] == 401


@pytest.mark.settings(PASSTHROUGH_PROVIDER="k2")
@pytest.mark.parametrize("path", ["tokens/stats", "tokens/reset-all"])
def test_tokens_that_a_caller_brings_along_open_no_door(ask, pool, path):
    assert ask(path, key="tok-of-my-own-1,tok-of-my-own-2")[0] == 401


ROLES = {
    "nobody": (),
    "sees providers": ("view_provider",),
    "sees tokens": ("view_upstreamtoken",),
    "sees both": ("view_provider", "view_upstreamtoken"),
    "changes tokens": ("change_upstreamtoken",),
    "adds tokens": ("add_upstreamtoken",),
    "changes providers": ("change_provider",),
}
NEEDED = {
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


def may(path, permissions):
    needed = NEEDED[path]
    if isinstance(needed, str):
        return needed in permissions
    return all({f"view_{name}", f"change_{name}"} & set(permissions) for name in needed)


@pytest.mark.parametrize("role", ROLES)
def test_each_door_opens_to_those_whose_permissions_django_asks_for(ask, pool, role):
    assert NEEDED.keys() == {*LOOKS, *DEEDS}
    member = rows.create_person("member", is_staff=True)
    member.user.user_permissions.add(*Permission.objects.filter(codename__in=ROLES[role]))
    UpstreamToken.objects.all().mark_disabled("by boss")
    client = Client()
    client.force_login(member.user)
    for path in (*LOOKS, *DEEDS):
        refused = ask(path, key=member.key, body={"mode": "guest", "tokens": []})[0] == 403
        assert refused != may(path, ROLES[role]), path
        if path in LOOKS:
            assert (client.get(f"/admin/{path}").status_code == 403) == refused, path
    changes = "change_upstreamtoken" in ROLES[role]
    assert (UpstreamToken.objects.filter(state="disabled").count() == 0) == changes


def test_who_may_only_add_tokens_is_told_no_counts(ask, pool, tmp_path, settings):
    path = tmp_path / "tokens.txt"
    path.write_text("sk-from-the-file-000001\n")
    settings.TOKENS_FILE, settings.TOKENS_PROVIDER = str(path), "k2"
    adder = rows.create_person("adder", is_staff=True)
    adder.user.user_permissions.add(Permission.objects.get(codename="add_upstreamtoken"))
    status, found = ask("tokens/reload", key=adder.key)
    assert (status, "data" in found) == (200, False), found
    adder.user.user_permissions.add(Permission.objects.get(codename="view_upstreamtoken"))
    assert "data" in ask("tokens/reload", key=adder.key)[1]


def test_a_session_of_the_admin_opens_the_doors_and_changes_things_only_with_the_csrf_token(
    boss, pool
):
    client = Client(enforce_csrf_checks=True)
    client.force_login(boss.user)
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


def test_a_session_of_somebody_else_opens_no_door(pool):
    client = Client()
    client.force_login(rows.create_person("mallory").user)
    assert client.get("/admin/tokens/stats").status_code == 403
    assert client.post("/admin/tokens/reset-all").status_code == 403


def test_a_key_of_its_own_counts_more_than_the_session_beside_it(boss, pool):
    client = Client(enforce_csrf_checks=True)
    client.force_login(boss.user)
    mallory = rows.create_person("mallory")
    assert (
        client.get(
            "/admin/tokens/stats", headers={"authorization": f"Bearer {mallory.key}"}
        ).status_code
        == 403
    )
    answer = client.post(
        "/admin/tokens/reset-all", "", "application/json", headers={"x-api-key": boss.key}
    )
    assert answer.status_code == 200


@pytest.mark.parametrize("path", [*LOOKS, *DEEDS])
def test_the_wrong_method_is_refused(boss, pool, path):
    client, headers = Client(), {"authorization": f"Bearer {boss.key}"}
    answer = (client.post if path in LOOKS else client.get)(f"/admin/{path}", headers=headers)
    assert answer.status_code == 405
    assert answer.json()["error"]["code"] == "method_not_allowed"


# --- counts ---------------------------------------------------------------------------------------
@pytest.mark.settings(MAX_TOKEN_FAILURES=3)
def test_the_counts_have_the_proxys_keys_and_each_provider_its_own(ask, pool):
    now = timezone.now()
    later, before = now + timedelta(hours=1), now - timedelta(hours=1)
    other = rows.create_provider("http://127.0.0.1:9/v1", "other", models=())
    rows.create_tokens(other, "sk-resting-1", strikes=2, rests_until=later)
    rows.create_tokens(other, "sk-exhausted-1", state="exhausted", rests_until=later)
    rows.create_tokens(other, "sk-disabled-1", state="disabled", strikes=3)
    rows.create_tokens(other, "sk-expired-1", expires_at=before)
    rows.create_tokens(other, "sk-renewed-1", expires_at=before, sealed_refresh="sealed")
    rows.create_tokens(other, "sk-rested-1", state="exhausted", rests_until=before)
    first, second = UpstreamToken.objects.filter(provider=pool)[:2]
    UpstreamToken.objects.filter(pk=first.pk).update(last_used_at=before)
    UpstreamToken.objects.filter(pk=second.pk).update(last_used_at=now)
    status, found = ask("tokens/stats")
    assert (status, found["status"], found.keys()) == (200, "success", {"status", "data"})
    providers = found["data"].pop("providers")
    assert found["data"] == {
        "total_tokens": 9,
        "active_tokens": 5,
        "inactive_tokens": 4,
        "current_index": 2,
        "failure_distribution": {"0": 7, "2": 1, "3": 1},
        "max_failures": 3,
    }
    k2, others = providers
    assert k2.keys() == others.keys() == {"name", "mode", "breaker", *STANDING}
    assert (k2["name"], k2["mode"], k2["total"], k2["active"], k2["inactive"]) == (
        "k2",
        "user",
        3,
        3,
        0,
    )
    assert others == {
        "name": "other",
        "mode": "user",
        "breaker": "closed",
        "failing": 0,
        "total": 6,
        "active": 2,
        "inactive": 4,
        "resting": 1,
        "exhausted": 1,
        "disabled": 1,
        "expired": 1,
    }


def test_the_counts_can_be_of_one_provider_and_of_none_at_all(ask, pool):
    rows.create_tokens(
        rows.create_provider("http://127.0.0.1:9/v1", "other", models=()), "sk-other-1"
    )
    data = ask("tokens/stats", provider="other")[1]["data"]
    assert (data["total_tokens"], [row["name"] for row in data["providers"]]) == (1, ["other"])
    assert "no provider 'nobody'" in mistaken(ask("tokens/stats", provider="nobody"))
    Provider.objects.all().delete()
    data = ask("tokens/stats")[1]["data"]
    assert (data["total_tokens"], data["current_index"], data["failure_distribution"]) == (0, 0, {})
    assert data["providers"] == []


def test_tokens_are_shown_masked_in_list_order(ask, pool):
    status, found = ask("tokens/content")
    assert (status, found) == (
        200,
        {"status": "success", "tokens": [vault.mask_secret(secret) for secret in SECRETS]},
    )


# --- resets ---------------------------------------------------------------------------------------
def test_a_token_is_reset_by_its_id_and_by_its_number(ask, pool):
    _, second, third = UpstreamToken.objects.all()
    for name, row in (("1", second), (str(third.pk), third)):
        UpstreamToken.objects.all().mark_disabled("by boss")
        status, found = ask(f"tokens/reset/{name}")
        assert (status, found["status"], found.keys()) == (200, "success", {"status", "message"})
        assert list(UpstreamToken.objects.filter(state="active")) == [row]
    assert set(LogEntry.objects.values_list("change_message", flat=True)) == {"Reset."}


@pytest.mark.parametrize(
    "name", ["3", "99999999999999999999", "-1", "second", "٣", "0" * 32, "x" * 300]
)
def test_a_token_that_is_not_there_cannot_be_reset(ask, pool, name):
    assert mistaken(ask(f"tokens/reset/{name}"))


def test_a_number_counts_in_the_list_of_the_provider_that_is_named(ask, pool):
    (row,) = rows.create_tokens(
        rows.create_provider("http://127.0.0.1:9/v1", "other", models=()),
        "sk-other-1",
        state="disabled",
    )
    assert "numbered from 0" in mistaken(ask("tokens/reset/1", provider="other"))
    assert ask("tokens/reset/0", provider="other")[0] == 200
    row.refresh_from_db()
    assert row.state == "active"
    assert mistaken(ask(f"tokens/reset/{row.pk}", provider="k2"))


def test_all_tokens_are_reset_or_those_of_one_provider(ask, pool):
    rows.create_tokens(
        rows.create_provider("http://127.0.0.1:9/v1", "other", models=()), "sk-other-1"
    )
    UpstreamToken.objects.update(state="disabled", strikes=3, rests_until=timezone.now())
    status, found = ask("tokens/reset-all", provider="other")
    assert (status, found.keys()) == (200, {"status", "message"})
    assert UpstreamToken.objects.filter(state="disabled").count() == 3
    assert "3 of 4" in ask("tokens/reset-all")[1]["message"]
    fresh = UpstreamToken.objects.filter(state="active", strikes=0, rests_until=None)
    assert fresh.count() == 4


# --- imports --------------------------------------------------------------------------------------
@pytest.mark.settings(TOKENS_PROVIDER="k2")
def test_the_token_file_is_read_again(ask, pool, settings, tmp_path):
    file = tmp_path / "tokens.txt"
    file.write_text(f"# mine\n{SECRETS[0]}\n\nsk-new-in-the-file-1\nno token\n")
    settings.TOKENS_FILE = str(file)
    status, found = ask("tokens/reload")
    assert (status, found["status"], found.keys()) == (
        200,
        "success",
        {"status", "message", "data"},
    )
    assert found["data"]["total_tokens"] == 4
    assert "1 imported, 1 known already" in found["message"]
    assert "line 5: has a space inside" in found["message"]
    assert UpstreamToken.objects.count() == 4


@pytest.mark.settings(
    TOKENS_PROVIDER="k2", GUEST_TOKENS_FILE="", USER_TOKENS_FILE="", TOKENS_FILE=""
)
def test_a_file_that_cannot_be_read_is_said_in_words(ask, pool, settings, tmp_path):
    assert "No setting names a token file" in mistaken(ask("tokens/reload"))
    settings.TOKENS_FILE = str(tmp_path / "missing.txt")
    assert "No such file" in mistaken(ask("tokens/reload"))
    (tmp_path / "binary").write_bytes(b"\x89PNG\xff\xfe\xfd")
    settings.USER_TOKENS_FILE = str(tmp_path / "binary")
    assert "is no text but a picture" in mistaken(ask("tokens/reload"))
    Provider.objects.update(mode="guest")
    settings.GUEST_TOKENS_FILE = str(tmp_path / "guests.txt")
    assert "guests.txt" in mistaken(ask("tokens/reload"))


@pytest.mark.settings(TOKENS_PROVIDER="k2")
def test_another_provider_never_sees_the_tokens_of_the_file(ask, pool, settings, tmp_path):
    (tmp_path / "tokens.txt").write_text("sk-new-in-the-file-1\n")
    settings.TOKENS_FILE = str(tmp_path / "tokens.txt")
    other = rows.create_provider("http://127.0.0.1:9/v1", "other", models=())
    assert mistaken(ask("tokens/reload", provider="other"))
    assert not other.tokens.exists()


def test_a_list_of_tokens_is_imported_and_nothing_is_deleted(ask, pool):
    status, found = ask("tokens/update", body={"tokens": [SECRETS[1], "sk-new-in-the-list-1", ""]})
    assert (status, found["status"], found.keys()) == (200, "success", {"status", "message"})
    assert "1 imported, 1 known already" in found["message"]
    assert "stay" in found["message"]
    assert UpstreamToken.objects.count() == 4
    other = rows.create_provider("http://127.0.0.1:9/v1", "other", models=())
    assert (
        ask("tokens/update", body={"tokens": ["sk-for-the-other"], "provider": "other"})[0] == 200
    )
    assert other.tokens.count() == 1


@pytest.mark.parametrize(
    "body", [None, {}, {"tokens": "sk-one-text"}, {"tokens": [1]}, {"tokens": None}, ["sk-a-list"]]
)
def test_what_is_no_list_of_tokens_is_refused(ask, pool, body):
    assert mistaken(ask("tokens/update", body=body))
    assert UpstreamToken.objects.count() == 3


def test_a_provider_is_named_by_text(ask, pool):
    assert mistaken(ask("tokens/update", body={"tokens": [], "provider": 7}))


def test_a_body_that_is_no_json_is_refused(boss, pool):
    headers = {"authorization": f"Bearer {boss.key}"}
    answer = Client().post(
        "/admin/switch_mode", "{", content_type="application/json", headers=headers
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_json")


# --- checks ---------------------------------------------------------------------------------------
@pytest.fixture
def checked(monkeypatch):
    """Stands for the upstreams: what is asked about works but for the second token, which is
    rejected.
    """
    from tokens.maintenance import token_check

    asked = []

    def check(tokens, **options):
        for row in tokens.order_by("created_at", "pk"):
            asked.append(row.masked)
            yield token_check.Finding(
                row, "rate limited" if row.masked == vault.mask_secret(SECRETS[1]) else "works"
            )

    monkeypatch.setattr(token_check, "check_upstream_tokens", check)
    return asked


def test_few_tokens_are_checked_while_the_caller_waits(ask, pool, checked):
    status, found = ask("tokens/check")
    assert (status, found["status"], found.keys()) == (200, "success", {"status", "data"})
    zeros = dict.fromkeys(
        ("rejected", "unproven", "out_of_quota", "provider_failed", "unreadable", "queued"), 0
    )
    assert found["data"] == {"checked": 3, "works": 2, "rate_limited": 1, **zeros}
    row = UpstreamToken.objects.all()[2]
    for name in (2, "2", str(row.pk)):
        checked.clear()
        assert ask("tokens/check", body={"token": name})[1]["data"]["checked"] == 1
        assert checked == [row.masked]
    assert mistaken(ask("tokens/check", body={"token": 3}))
    assert ask("tokens/check", body={"provider": "k2"})[1]["data"]["checked"] == 3


def test_many_tokens_are_left_to_the_worker(ask, pool, checked, monkeypatch):
    from tokens import tasks
    from tokens.maintenance import check_now

    left = []
    monkeypatch.setattr(check_now, "MAX_CHECKED_NOW", 2)
    monkeypatch.setattr(check_now, "TOKENS_PER_TASK", 2)
    monkeypatch.setattr(tasks.check, "apply_async", lambda args, options, **how: left.append(*args))
    data = ask("tokens/check")[1]["data"]
    assert (data["checked"], data["queued"], checked) == (0, 3, [])
    ids = {str(row.pk) for row in UpstreamToken.objects.all()}
    assert [len(part) for part in left] == [2, 1]
    assert {one for part in left for one in part} == ids
    assert sum(map(tasks.check, left)) == 2
    assert len(checked) == 3


def test_a_queue_that_is_away_is_said_in_words(ask, pool, monkeypatch):
    from kombu.exceptions import OperationalError

    from tokens import tasks
    from tokens.maintenance import check_now

    def away(*args, **options):
        assert options["retry"] is False
        raise OperationalError("connection refused")

    monkeypatch.setattr(check_now, "MAX_CHECKED_NOW", 2)
    monkeypatch.setattr(tasks.check, "apply_async", away)
    monkeypatch.setattr(token_renewal.tasks.refresh_pool, "apply_async", away)
    rows.create_tokens(pool, "sk-renewable-1", sealed_refresh="sealed")
    for path in ("tokens/check", "tokens/updater/force-update"):
        status, found = ask(path)
        assert (status, found["status"]) == (503, "error")
        assert "cannot be reached" in found["message"]
    assert not LogEntry.objects.exists()


# --- the mode -------------------------------------------------------------------------------------
def test_the_mode_is_switched_and_seen(ask, pool, guests, settings):
    settings.TOOL_SUPPORT, settings.LOG_LEVEL, settings.TOKENS_PROVIDER = True, "INFO", "k2"
    settings.GUEST_TOKENS_FILE, settings.TOKENS_FILE, settings.USER_TOKENS_FILE = (
        "guests.txt",
        "tokens.txt",
        "",
    )
    status, found = ask("switch_mode", body={"mode": "guest"})
    assert (status, found["status"], found.keys()) == (
        200,
        "success",
        {"status", "message", "mode"},
    )
    assert found["mode"] == "guest"
    status, found = ask("status")
    assert (status, found.keys()) == (200, {"mode", "token_stats", "config"})
    assert found["mode"] == "guest"
    assert found["token_stats"]["total_tokens"] == 3
    config = {
        "tokens_file": "guests.txt",
        "api_url": pool.base_url,
        "tool_support": True,
        "debug_logging": False,
    }
    assert found["config"] == config
    assert ask("switch_mode", body={"mode": "user", "provider": "k2"})[1]["mode"] == "user"
    assert ask("status")[1]["config"]["tokens_file"] == "tokens.txt"
    assert list(LogEntry.objects.order_by("pk").values_list("change_message", flat=True)) == [
        "Mode guest.",
        "Mode user.",
    ]


@pytest.mark.parametrize(
    "body", [None, {}, {"mode": "admin"}, {"mode": None}, {"mode": ["guest"]}, {"mode": {}}]
)
def test_a_mode_that_is_none_is_refused(ask, pool, guests, body):
    assert "guest" in mistaken(ask("switch_mode", body=body))
    assert Provider.objects.get().mode == "user"


def test_a_provider_without_an_entrance_for_guests_keeps_its_mode(ask, pool):
    assert "k2 has no entrance" in mistaken(ask("switch_mode", body={"mode": "guest"}))
    assert Provider.objects.get().mode == "user"


async def test_a_switched_mode_is_in_force_for_the_next_requests(
    gateway, operator, alice, upstream, provider
):
    site = {"kind": "k2think_web", "base_url": upstream.url.replace("/v1", "/api")}
    await run_in_thread(Provider.objects.filter(pk=provider.pk).update, **site)
    await gateway.reload_rows()
    upstream.set_default_script(send_stream({"content": "Hi."}, "[DONE]"))

    async def asked(mode):
        answer = await gateway.send_request(
            "POST", "/admin/switch_mode", operator.key, json={"mode": mode}
        )
        assert answer.status == 200, answer
        await wait_until_true(lambda: [one.mode for one in gateway.list_upstreams()] == [mode])
        assert (await gateway.request_chat(alice.key)).text == "Hi."
        return upstream.requests[-1]

    for _ in range(2):
        found = await asked("guest")
        assert (found.path, found.bearer_token) == ("/api/guest/chat/completions", "")
        found = await asked("user")
        assert (found.path, found.bearer_token) == ("/api/chat/completions", "sk-up-1")


# --- which provider -------------------------------------------------------------------------------
def test_the_provider_meant_is_the_one_of_the_token_files_then_the_one_with_tokens(
    ask, pool, settings
):
    rows.create_provider("http://127.0.0.1:9/v1", "a-first", models=())
    settings.TOKENS_PROVIDER = "nowhere"
    assert ask("status")[1]["config"]["api_url"] == pool.base_url
    rows.create_provider("http://127.0.0.1:8/v1", "files", models=())
    settings.TOKENS_PROVIDER = "files"
    assert ask("status")[1]["config"]["api_url"] == "http://127.0.0.1:8/v1"
    settings.TOKENS_PROVIDER = ""
    rows.create_tokens(Provider.objects.get(name="a-first"), "sk-a-first-1")
    assert "a-first, files, k2" in mistaken(ask("status"))
    Provider.objects.all().delete()
    assert "none" in mistaken(ask("status"))


# --- renewal --------------------------------------------------------------------------------------
async def test_failures_in_a_row_are_told_and_forgotten(gateway, operator, alice, upstream, token):
    upstream.queue_scripts(send_refusal(401, "No."))
    await gateway.request_chat(alice.key)
    answer = await gateway.send_request("GET", "/admin/tokens/consecutive-failures", operator.key)
    data = answer.json["data"]
    assert data.pop("last_upstream_error_time") < data.pop("last_check")
    assert data == {
        "consecutive_failures": 0,
        "threshold": 2,
        "consecutive_upstream_errors": 1,
        "upstream_error_threshold": 2,
        "token_pool_size": 1,
        "auto_refresh_enabled": False,
    }
    answer = await gateway.send_request("POST", "/admin/tokens/reset-consecutive", operator.key)
    assert answer.json.keys() == {"status", "message", "data"}
    assert answer.json["data"] == {"previous_count": 1, "current_count": 0}
    answer = await gateway.send_request("GET", "/admin/tokens/consecutive-failures", operator.key)
    assert answer.json["data"]["consecutive_upstream_errors"] == 0
    assert answer.json["data"]["last_upstream_error_time"] is None


def test_a_process_without_a_gateway_says_so(ask, pool):
    assert ask("tokens/consecutive-failures")[0] == 503


def test_the_renewal_is_disabled_where_nothing_can_be_renewed(ask, pool):
    status, found = ask("tokens/updater/status")
    assert (status, found["status"], found.keys()) == (200, "disabled", {"status", "data"})
    data = found["data"]
    assert data.pop("update_interval") > 0
    assert data == {
        "is_running": False,
        "is_updating": False,
        "last_update": None,
        "update_count": 0,
        "error_count": 0,
        "last_error": None,
        "cached_tokens_count": 3,
        "next_update": None,
        "accounts_file_exists": False,
    }
    assert "no token that can be renewed" in mistaken(ask("tokens/updater/force-update"))


def test_the_renewal_is_told_and_started(ask, pool, settings, tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(
        token_renewal.tasks.refresh_pool,
        "apply_async",
        lambda args, options, **how: started.append((args, options)),
    )
    ends = timezone.now() + timedelta(days=1)
    rows.create_tokens(pool, "sk-renewable-1", sealed_refresh="sealed", expires_at=ends)
    settings.RENEW_BEFORE_SECONDS = 600
    settings.ACCOUNTS_FILE = str(tmp_path / "accounts.txt")
    (tmp_path / "accounts.txt").touch()
    now = timezone.now()
    Refresh.objects.create(
        provider=pool,
        running_until=now + timedelta(minutes=1),
        ended_at=now,
        runs=4,
        errors=1,
        last_error="No.",
    )
    found = ask("tokens/updater/status")[1]
    assert found["status"] == "success"
    data = found["data"]
    assert (data["is_running"], data["is_updating"], data["accounts_file_exists"]) == (
        True,
        True,
        True,
    )
    assert (data["update_count"], data["error_count"], data["last_error"]) == (4, 1, "No.")
    assert (data["last_update"], data["cached_tokens_count"]) == (now.isoformat(), 4)
    assert data["next_update"] == (ends - timedelta(minutes=10)).isoformat()
    status, found = ask("tokens/updater/force-update")
    assert (status, found["status"], found.keys()) == (200, "success", {"status", "message"})
    assert started == [((pool.pk,), {"force": True})]


async def test_a_body_in_chunks_counts_like_any_other(gateway, operator, upstream, three):
    other = await run_in_thread(rows.create_provider, upstream.url, "other", models=("o",))
    await run_in_thread(rows.create_tokens, other, "sk-other-1")
    await run_in_thread(lambda: UpstreamToken.objects.update(state="disabled"))

    async def pieces():
        yield b'{"provider": '
        yield b'"other"}'

    headers = {"content-type": "application/json"}
    answer = await gateway.send_request(
        "POST", "/admin/tokens/reset-all", operator.key, content=pieces(), headers=headers
    )
    assert answer.status == 200
    active = UpstreamToken.objects.filter(state="active").values_list("provider__name", flat=True)
    assert await run_in_thread(lambda: list(active)) == ["other"]


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
