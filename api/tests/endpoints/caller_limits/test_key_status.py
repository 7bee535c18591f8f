"""/v1/key: a key asks what it may do and what is left."""

import pytest

from api.models import LimitSet
from proxysite.testing.rows import Person


async def ask(gateway, key):
    return await gateway.send_request("GET", "/v1/key", headers={"authorization": f"Bearer {key}"})


async def test_a_key_without_limits_has_its_rights(gateway, alice):
    answer = await ask(gateway, alice.key)
    assert answer.status == 200
    shown = answer.json
    assert shown["object"] == "key"
    assert (shown["user"], shown["team"], shown["limits"]) == ("alice", None, [])
    assert shown["models"] == ["m"]
    assert alice.key not in answer.body.decode()


@pytest.fixture
def limited(alice: Person) -> None:
    LimitSet.objects.create(
        key=alice.row,
        requests_per_minute=600,
        tokens_per_minute=10_000,
        concurrent_requests=5,
        day_budget_usd="2.5",
        time_zone="Europe/Berlin",
    )


async def test_a_key_sees_what_is_used_and_left(limited, gateway, upstream, alice):
    for _ in range(3):
        assert (await gateway.request_chat(alice.key)).status == 200
    limits = {limit["limit"]: limit for limit in (await ask(gateway, alice.key)).json["limits"]}
    requests = limits["requests_per_minute"]
    assert (requests["amount"], requests["used"], requests["left"]) == (600, 3, 597)
    assert 0 < requests["resets_in_seconds"] <= 60
    running = limits["concurrent_requests"]
    assert (running["amount"], running["used"]) == (5, 0)
    budget = limits["day_budget_usd"]
    assert (budget["amount"], budget["used"], budget["left"]) == (2.5, 0, 2.5)
    assert (budget["unit"], budget["period"], budget["window"]) == ("USD", "day", "calendar")
    assert budget["resets_at"].endswith("+00:00")
    tokens = limits["tokens_per_minute"]
    assert tokens["amount"] - tokens["left"] == tokens["used"]


async def test_asking_uses_nothing_up(limited, gateway, alice):
    for _ in range(5):
        answer = await ask(gateway, alice.key)
    assert answer.json["limits"][0]["used"] == 0


async def test_strangers_are_refused(gateway):
    assert (await ask(gateway, "sk-ps-unknown")).status == 401
