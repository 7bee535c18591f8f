"""The staff endpoints show and switch the mode of a provider."""

import pytest
from django.contrib.admin.models import LogEntry

from api.tests.endpoints.staff.staff_endpoints import read_refusal
from providers.database.database_threads import run_in_thread
from providers.models import Provider
from proxysite.testing import rows, wait_until_true
from proxysite.testing.upstream import send_stream


# --- the mode -------------------------------------------------------------------------------------
def test_the_mode_is_switched_and_seen(request_staff, pooled_provider, guest_mode, settings):
    settings.TOOL_SUPPORT, settings.LOG_LEVEL, settings.TOKENS_PROVIDER = True, "INFO", "k2"
    settings.GUEST_TOKENS_FILE, settings.TOKENS_FILE, settings.USER_TOKENS_FILE = (
        "guests.txt",
        "tokens.txt",
        "",
    )
    status, found = request_staff("switch_mode", body={"mode": "guest"})
    assert (status, found["status"], found.keys()) == (
        200,
        "success",
        {"status", "message", "mode"},
    )
    assert found["mode"] == "guest"
    assert found["message"] == "k2 is asked in guest mode within a second."
    status, found = request_staff("status")
    assert (status, found.keys()) == (200, {"mode", "token_stats", "config"})
    assert found["mode"] == "guest"
    assert found["token_stats"]["total_tokens"] == 3
    config = {
        "tokens_file": "guests.txt",
        "api_url": pooled_provider.base_url,
        "tool_support": True,
        "debug_logging": False,
    }
    assert found["config"] == config
    assert (
        request_staff("switch_mode", body={"mode": "user", "provider": "k2"})[1]["mode"] == "user"
    )
    assert request_staff("status")[1]["config"]["tokens_file"] == "tokens.txt"
    assert list(LogEntry.objects.order_by("pk").values_list("change_message", flat=True)) == [
        "Mode guest.",
        "Mode user.",
    ]


@pytest.mark.parametrize(
    "body", [None, {}, {"mode": "admin"}, {"mode": None}, {"mode": ["guest"]}, {"mode": {}}]
)
def test_a_mode_that_is_none_is_refused(request_staff, pooled_provider, guest_mode, body):
    assert "guest" in read_refusal(request_staff("switch_mode", body=body))
    assert Provider.objects.get().mode == "user"


def test_a_provider_without_an_entrance_for_guests_keeps_its_mode(request_staff, pooled_provider):
    assert "k2 has no entrance" in read_refusal(
        request_staff("switch_mode", body={"mode": "guest"})
    )
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
    request_staff, pooled_provider, settings
):
    rows.create_provider("http://127.0.0.1:9/v1", "a-first", models=())
    settings.TOKENS_PROVIDER = "nowhere"
    assert request_staff("status")[1]["config"]["api_url"] == pooled_provider.base_url
    rows.create_provider("http://127.0.0.1:8/v1", "files", models=())
    settings.TOKENS_PROVIDER = "files"
    assert request_staff("status")[1]["config"]["api_url"] == "http://127.0.0.1:8/v1"
    settings.TOKENS_PROVIDER = ""
    rows.create_tokens(Provider.objects.get(name="a-first"), "sk-a-first-1")
    assert "a-first, files, k2" in read_refusal(request_staff("status"))
    Provider.objects.all().delete()
    assert "none" in read_refusal(request_staff("status"))
