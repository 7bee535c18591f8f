"""Health, probes and the home page."""

import pytest

from api.views.health import failure_marker_path
from providers.database.database_threads import run_in_thread
from proxysite.testing import rows
from proxysite.testing.upstream import send_refusal


async def test_health_is_open_and_tells_counts_to_staff_alone(gateway, alice, operator, token):
    stranger = await gateway.send_request("GET", "/health")
    assert stranger.status == 200
    assert stranger.json.keys() == {"status", "version", "worker", "beat"}
    assert [stranger.json[name] for name in ("status", "worker", "beat")] == ["ok", "ok", "ok"]
    assert (await gateway.send_request("GET", "/health", alice.key)).json == stranger.json
    for headers in (
        {"authorization": f"Bearer {operator.key}"},
        {"x-api-key": operator.key},
        {"api-key": operator.key},
    ):
        known = await gateway.send_request("GET", "/health", headers=headers)
        assert known.json["tokens"] == {"total": 1, "active": 1, "inactive": 0}
    assert (await gateway.send_request("GET", "/health", "sk-ps-unknown")).status == 401


async def test_health_says_when_the_worker_inside_the_process_has_failed(gateway, settings):
    failure_marker_path("worker").touch()
    answer = await gateway.send_request("GET", "/health")
    assert (answer.status, answer.json["worker"], answer.json["beat"]) == (200, "failed", "ok")
    settings.EMBEDDED_WORKER = False
    assert (await gateway.send_request("GET", "/health")).json.keys() == {"status", "version"}
    failure_marker_path("worker").unlink()


# on a busy machine the answer may take longer than a database that counts as away
@pytest.mark.settings(DATABASE_TIMEOUT_SECONDS=30)
async def test_counts_follow_the_state_of_the_tokens(gateway, upstream, operator, token, provider):
    await run_in_thread(rows.create_tokens, provider, "sk-up-2", "sk-up-3", state="disabled")
    upstream.queue_scripts(send_refusal(429, retry_after="60"))
    await gateway.request_chat(operator.key)
    await gateway.read_token_row(token)
    found = await gateway.send_request("GET", "/health", operator.key)
    assert found.json["tokens"] == {"total": 3, "active": 0, "inactive": 3}


@pytest.mark.settings(DATABASE_TIMEOUT_SECONDS=30)
async def test_a_member_of_staff_sees_the_counts_too(gateway, operator, mallory, client, token):
    for person, seen in ((operator, True), (mallory, False)):
        await run_in_thread(client.force_login, person.user)
        cookie = client.cookies["sessionid"].value
        found = await gateway.send_request(
            "GET", "/health", headers={"cookie": f"sessionid={cookie}"}
        )
        assert found.status == 200
        assert ("tokens" in found.json) == seen


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_probes_answer_and_tell_nothing(gateway, path):
    answer = await gateway.send_request("GET", path)
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain")
    assert len(answer.body) < 20
    assert "server" not in answer.headers


async def test_the_home_page_names_the_doors(gateway):
    answer = await gateway.send_request("GET", "/")
    assert answer.status == 200
    assert answer.json["status"] == "ok"
    assert "/v1/chat/completions" in answer.json["endpoints"].values()
