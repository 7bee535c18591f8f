"""Host names: which addresses answer for any name, and what an unknown one is told."""

import json
from typing import Any

import httpx
import pytest

from proxysite.server import host_names

UNKNOWN = "gateway.example"
PAGE = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture(autouse=True)
def _nothing_logged_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_names, "_logged_names", set())


async def ask(
    gateway: Any, method: str, path: str, host: str = UNKNOWN, **headers: str
) -> httpx.Response:
    async with httpx.AsyncClient(base_url=gateway.url, trust_env=False) as client:
        return await client.request(method, path, headers={"host": host, **headers})


async def test_a_program_is_told_which_name_is_not_known_and_what_to_set(gateway: Any) -> None:
    for path in (
        "/",
        "/admin/",
        "/admin/tokens/stats",
    ):
        answer = await ask(gateway, "GET", path, f"{UNKNOWN}:8000", accept="*/*")
        assert answer.status_code == 400, path
        error = answer.json()["error"]
        assert error["code"] == "unknown_host"
        assert UNKNOWN in error["message"]
        assert "ALLOWED_HOSTS" in error["message"]
        assert answer.headers["x-request-id"].startswith("req_")


async def test_a_person_gets_a_page(gateway: Any) -> None:
    answer = await ask(gateway, "GET", "/admin/", **PAGE)
    assert answer.status_code == 400
    assert answer.headers["content-type"].startswith("text/html")
    assert UNKNOWN in answer.text
    assert "ALLOWED_HOSTS=localhost,127.0.0.1" in answer.text


@pytest.mark.parametrize("headers", [PAGE, {}])
async def test_a_hostile_name_is_escaped_and_bounded(gateway: Any, headers: dict[str, str]) -> None:
    name = "<script>alert(1)</script>" + "x" * 5_000
    answer = await ask(gateway, "GET", "/", name, **headers)
    assert answer.status_code == 400
    assert len(answer.text) < 2_500
    if headers:
        assert "<script>" not in answer.text
    else:
        assert json.loads(answer.text)["error"]["code"] == "unknown_host"


API = [
    ("GET", "/healthz", 200),
    ("GET", "/readyz", 200),
    ("GET", "/health", 200),
    ("GET", "/v1/models", 401),
    ("GET", "/v1/conversations", 401),
    ("GET", "/v1/files", 401),
    ("GET", "/v1/chat/completions", 401),
    ("POST", "/v1/chat/completions", 401),
    ("POST", "/v1/chat/completions/named", 401),
    ("POST", "/v1/responses", 401),
    ("POST", "/v1/embeddings", 401),
    ("GET", "/v1/nothing", 404),
    ("GET", "/nothing", 404),
    ("GET", "/v1x", 404),
    ("GET", "/healthz/x", 404),
    ("POST", "/chat/completions", 404),
    ("GET", "/v1", 404),
]


async def test_probes_and_the_api_answer_for_any_name_on_both_handlers(gateway: Any) -> None:
    for method, path, status in API:
        for host in (UNKNOWN, "localhost", "not/a host"):
            answer = await ask(gateway, method, path, host)
            assert answer.status_code == status, (method, path, host)


async def test_a_key_works_under_any_name(gateway: Any, alice: Any) -> None:
    answer = await ask(gateway, "GET", "/v1/models", **{"x-api-key": alice.key})
    assert answer.status_code == 200


async def test_each_name_is_logged_once_and_not_without_end(
    gateway: Any, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        await ask(gateway, "GET", "/")
    assert [r.getMessage() for r in caplog.records if r.name == "proxysite.server.host_names"] == [
        f"the host name '{UNKNOWN}' is not known: add it to ALLOWED_HOSTS if it is yours"
    ]
    for number in range(2 * host_names.MOST_LOGGED_NAMES):
        host_names.log_unknown_host(f"{number}.example")
    assert (
        len([r for r in caplog.records if r.name == "proxysite.server.host_names"])
        == host_names.MOST_LOGGED_NAMES + 1
    )


async def test_the_first_page_is_for_people_and_programs(gateway: Any) -> None:
    person, program = (
        await ask(gateway, "GET", "/", "127.0.0.1", **PAGE),
        await ask(gateway, "GET", "/", "127.0.0.1"),
    )
    assert '<a href="/admin/">' in person.text
    assert "http://127.0.0.1/v1" in person.text
    assert program.json()["endpoints"]["admin"] == "/admin/"


# --- the hint at start ----------------------------------------------------------------------------
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.0.0.9"])
def test_a_gateway_for_this_machine_alone_gets_no_hint(host: str) -> None:
    assert host_names.describe_missing_names(host) == ""


@pytest.mark.parametrize("host", ["0.0.0.0", "::", ""])
def test_a_gateway_for_others_is_told_what_to_allow(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_names.socket, "gethostname", lambda: "our-server")
    monkeypatch.setattr(host_names, "find_own_address", lambda: ["10.0.0.7"])
    hint = host_names.describe_missing_names(host)
    assert "ALLOWED_HOSTS=" in hint
    assert hint.endswith("our-server,10.0.0.7")


def test_an_address_of_its_own_is_the_hint() -> None:
    assert host_names.describe_missing_names("192.168.1.5").endswith(",192.168.1.5")
    assert host_names.describe_missing_names("fe80::7").endswith(",[fe80::7]")
