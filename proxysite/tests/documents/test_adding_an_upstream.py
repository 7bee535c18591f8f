"""docs/adding-an-upstream.md: its example runs behind a gateway, in front of a fake upstream."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from providers import adapters, registry
from providers.database.database_threads import run_in_thread
from providers.models import Provider
from proxysite.testing import rows
from proxysite.testing.gateway import HELLO
from proxysite.testing.upstream import CUT, send_reply, send_stream
from proxysite.tests.documents.blocks import read_page

MOST_LINES = 60
SOURCE = re.findall(r"```python\n(.*?)```", read_page("docs/adding-an-upstream.md"), re.DOTALL)[0]
KINDS = (registry.list_adapter_kinds, registry.get_adapter_class)


@pytest.fixture
def _talk_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put the example's file beside the adapters."""
    (tmp_path / "talk.py").write_text(SOURCE, encoding="utf-8")
    monkeypatch.setattr(adapters, "__path__", [*adapters.__path__, str(tmp_path)])
    for function in KINDS:
        function.cache_clear()
    yield
    for function in KINDS:
        function.cache_clear()


@pytest.fixture
async def talk(_talk_kind: None, gateway: Any, upstream: Any) -> Provider:
    def create_rows() -> Provider:
        provider = rows.create_provider(upstream.url, "talk", kind="talk", models=["chatty=talk-1"])
        rows.create_tokens(provider, "sk-talk-1", "sk-talk-2")
        return provider

    provider = await run_in_thread(create_rows)
    await gateway.reload_rows()
    return provider


def test_the_example_is_short() -> None:
    assert len(SOURCE.splitlines()) < MOST_LINES


async def test_a_whole_answer(gateway: Any, talk: Provider, upstream: Any, alice: Any) -> None:
    upstream.queue_scripts(send_reply({"reply": "Hello there!"}))
    answer = await gateway.request_chat(alice.key, model="chatty")
    assert (answer.status, answer.text) == (200, "Hello there!")
    (request,) = upstream.requests
    assert (request.path, request.bearer_token) == ("/v1/talk", "sk-talk-1")
    lines = [f"user: {message['content']}" for message in HELLO]
    assert request.json == {"engine": "talk-1", "lines": lines, "stream": False}


async def test_a_stream(gateway: Any, talk: Provider, upstream: Any, alice: Any) -> None:
    upstream.queue_scripts(send_stream({"piece": "Hello"}, {"piece": " there!"}, {"end": True}))
    answer = await gateway.request_chat(alice.key, model="chatty", stream=True)
    assert (answer.text, answer.finish_reasons, answer.is_complete) == (
        "Hello there!",
        ["stop"],
        True,
    )


async def test_a_stream_that_is_cut_never_looks_finished(
    gateway: Any, talk: Provider, upstream: Any, alice: Any
) -> None:
    upstream.queue_scripts(send_stream({"piece": "Hello"}, CUT))
    answer = await gateway.request_chat(alice.key, model="chatty", stream=True)
    assert answer.stream_error["code"] == "upstream_disconnected"


async def test_a_token_without_quota_is_exhausted_and_the_next_one_answers(
    gateway: Any, talk: Provider, upstream: Any, alice: Any
) -> None:
    upstream.queue_scripts(send_reply({}, 418), send_reply({"reply": "Hello there!"}))
    answer = await gateway.request_chat(alice.key, model="chatty")
    assert answer.text == "Hello there!"
    assert [request.bearer_token for request in upstream.requests] == ["sk-talk-1", "sk-talk-2"]
