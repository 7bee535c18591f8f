"""The test of a connection shows each step, and says at which one it fails."""

import socket
from typing import Any

import pytest

from providers.database.database_threads import run_in_thread
from providers.models import ChatModel, Provider
from proxysite.testing import rows
from proxysite.testing.upstream import Exchange, keep_silent, send_refusal
from tokens.dialect_probe.connection_test import ConnectionReport, run_connection_test
from tokens.dialect_probe.examination import examine_upstream
from tokens.models import UpstreamToken
from tokens.tests.dialect_probe.characters import (
    dead_key,
    is_for_models,
    plain_local,
    strict_mistral,
    strict_openai,
)

pytestmark = pytest.mark.usefixtures("token")
SECRET = "sk-up-1"


async def run_test(provider: Provider, **options: Any) -> ConnectionReport:
    row = await run_in_thread(Provider.objects.get, pk=provider.pk)
    return await run_in_thread(run_connection_test, row, **options)


def states(report: ConnectionReport) -> dict[str, str]:
    return {step.name: step.state for step in report.steps}


def text_of(report: ConnectionReport, name: str) -> str:
    (step,) = [step for step in report.steps if step.name == name]
    return step.text


async def test_every_step_of_a_good_upstream_is_shown_with_its_dialect(
    upstream: Any, provider: Provider
) -> None:
    await run_in_thread(ChatModel.objects.update, upstream_name="gpt-5")
    upstream.set_default_script(strict_openai)
    report = await run_test(provider)
    assert states(report) == {
        "dns": "good",
        "tcp": "good",
        "tls": "off",
        "credential": "good",
        "models": "good",
        "answer": "good",
        "stream": "good",
        "tools": "good",
        "dialect": "good",
    }
    assert "127.0.0.1" in text_of(report, "dns")
    assert text_of(report, "models") == "2 models listed, 1 known here"
    assert text_of(report, "stream").startswith("first chunk after ")
    assert "stream_options" in text_of(report, "dialect")
    assert report.columns
    assert SECRET not in str(report.to_json())


async def test_the_test_proposes_what_an_examination_proposes(
    upstream: Any, provider: Provider
) -> None:
    await run_in_thread(ChatModel.objects.update, upstream_name="mistral-large")
    upstream.set_default_script(strict_mistral)
    row = await run_in_thread(Provider.objects.get)
    examined = await run_in_thread(examine_upstream, row, "mistral-large")
    assert (await run_test(provider)).columns == examined.columns != {}


async def test_without_the_dialect_few_questions_are_asked_and_nothing_is_proposed(
    upstream: Any, provider: Provider
) -> None:
    upstream.set_default_script(plain_local)
    report = await run_test(provider, examines_dialect=False)
    assert report.is_good
    assert "dialect" not in states(report)
    assert report.columns == {}
    assert len(upstream.requests) < 10


async def test_an_upstream_without_a_list_of_models_is_told_apart_from_one_that_is_away(
    upstream: Any, provider: Provider
) -> None:
    async def without_list(exchange: Exchange) -> None:
        if is_for_models(exchange):
            return await send_refusal(404, "No such page.")(exchange)
        return await plain_local(exchange)

    upstream.set_default_script(without_list)
    report = await run_test(provider, examines_dialect=False)
    assert states(report)["models"] == "wait"
    assert "no list of models" in text_of(report, "models")
    assert states(report)["answer"] == "good"

    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    await run_in_thread(rows.move_all_providers, f"http://127.0.0.1:{port}/v1")
    report = await run_test(provider)
    assert states(report) == {"dns": "good", "tcp": "bad"}
    assert f"port {port}" in text_of(report, "tcp")


async def test_a_rejected_token_is_named_by_its_mask(upstream: Any, provider: Provider) -> None:
    upstream.set_default_script(dead_key)
    report = await run_test(provider)
    assert not report.is_good
    assert states(report)["credential"] == "bad"
    masked = (await run_in_thread(UpstreamToken.objects.get)).masked
    assert text_of(report, "credential").startswith(f"{masked}: ")


async def test_a_name_that_does_not_resolve_ends_the_test(provider: Provider) -> None:
    await run_in_thread(rows.move_all_providers, "https://no-such-host.invalid/v1")
    report = await run_test(provider)
    assert states(report) == {"dns": "bad"}


async def test_a_provider_without_usable_tokens_says_so(upstream: Any, provider: Provider) -> None:
    upstream.set_default_script(plain_local)
    await run_in_thread(UpstreamToken.objects.update, state="disabled", reason="auth: no")
    report = await run_test(provider, examines_dialect=False)
    assert "no usable token" in text_of(report, "credential")


@pytest.mark.settings(CONNECTION_TEST_SECONDS=0.5)
async def test_an_upstream_that_hangs_ends_the_test_in_time(
    upstream: Any, provider: Provider
) -> None:
    upstream.set_default_script(keep_silent)
    report = await run_test(provider)
    assert report.steps[-1].name == "time"
    assert not report.is_good


async def test_an_address_that_nobody_confirmed_gets_no_token(
    upstream: Any, provider: Provider
) -> None:
    await run_in_thread(
        Provider.objects.filter(pk=provider.pk).update, base_url="https://evil.example/v1"
    )
    report = await run_test(provider)
    assert states(report) == {"address": "bad"}
    assert upstream.requests == []
