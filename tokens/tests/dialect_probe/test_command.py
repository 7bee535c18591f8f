"""The command test_provider, against upstreams of three characters over real sockets."""

import json
from typing import Any

import pytest

from providers.database.database_threads import run_in_thread
from providers.models import ChatModel, Provider
from providers.tests.command_runner import refused, run
from proxysite.testing import rows
from proxysite.testing.upstream import DONE, Exchange, send_refusal, send_reply, send_stream
from tokens.dialect_probe.prober import MOST_ANSWER_TOKENS
from tokens.tests.dialect_probe.characters import (
    dead_key,
    plain_local,
    strict_mistral,
    strict_openai,
)

pytestmark = pytest.mark.usefixtures("token")


@pytest.fixture(autouse=True)
async def provider(provider: Provider) -> Provider:
    await run_in_thread(ChatModel.objects.update, public_id="mine", upstream_name="gpt-5")
    return provider


async def ask(*words: str) -> str:
    return await run_in_thread(run, "test_provider", "fake", *words)


async def ask_json(*words: str) -> Any:
    return json.loads(await ask("--format", "json", *words))


async def read_row() -> Provider:
    return await run_in_thread(Provider.objects.get)


def results(report: Any) -> dict[str, str]:
    return {finding["subject"]: finding["result"] for finding in report["findings"]}


# --- the three characters -------------------------------------------------------------------------
async def test_a_strict_openai_is_found_out(upstream: Any) -> None:
    upstream.set_default_script(strict_openai)
    report = await ask_json()
    assert results(report) == {
        "models": "2 listed, gpt-5 among them",
        "limit": "max_completion_tokens only",
        "usage": "reported",
        "thinking": "not shown",
        "role developer": "taken",
        "names of messages": "taken",
        "stream_options": "taken; streams end with usage",
        "other fields": "refused: presence_penalty (presence_penalty perhaps by this model only: "
        "learnt when it is asked)",
        "tools": "native",
        "earlier calls": "taken without fields of other upstreams",
        "earlier thinking": "refused",
    }
    assert report["columns"] == {
        "dialect_changes": {
            "limit_field": "max_completion_tokens",
            "takes_call_extras": False,
            "thinking_field": "",
        }
    }


async def test_a_row_with_the_right_profile_fits(upstream: Any) -> None:
    upstream.set_default_script(strict_openai)
    await run_in_thread(Provider.objects.update, dialect="openai")
    assert (await ask()).endswith("The row of fake fits: nothing to change.\n")


async def test_a_strict_mistral_is_found_out_and_the_proposal_makes_it_answer(
    upstream: Any,
) -> None:
    upstream.set_default_script(strict_mistral)
    report = await ask_json("--model", "magistral-medium", "--apply")
    found = results(report)
    assert found["limit"] == "max_tokens only"
    assert found["thinking"] == "among the parts of the content"
    assert found["role developer"] == "refused: sent as system"
    assert found["stream_options"] == "refused; streams end with usage"
    assert found["tools"] == "native"
    row = await read_row()
    assert row.dialect_changes == {
        "limit_field": "max_tokens",
        "takes_names": False,
        "takes_stream_options": False,
        "refused_fields": [
            "metadata",
            "prompt_cache_key",
            "safety_identifier",
            "service_tier",
            "store",
            "user",
        ],
        "takes_call_extras": False,
        "thinking_field": "",
    }
    assert report["written"] is True
    again = await ask_json("--model", "magistral-medium")
    assert (again["columns"], again["written"]) == ({}, False)


async def test_a_row_as_proposed_is_answered_by_the_strict_upstream(
    gateway: Any, upstream: Any, alice: Any
) -> None:
    upstream.set_default_script(strict_mistral)
    ask_all = {
        "messages": [
            {"role": "developer", "content": "Be brief.", "name": "boss"},
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hello", "reasoning_content": "hm"},
            {"role": "user", "content": "Hi"},
        ],
        "max_completion_tokens": 5,
        "store": True,
        "metadata": {"a": "b"},
    }
    assert (await gateway.request_chat(alice.key, model="mine", **ask_all)).status == 422
    await ask("--apply")
    await gateway.reload_rows()
    for streams in (False, True):
        answer = await gateway.request_chat(alice.key, model="mine", stream=streams, **ask_all)
        assert answer.status == 200


async def test_a_plain_local_server_is_found_out(upstream: Any) -> None:
    upstream.set_default_script(plain_local)
    report = await ask_json("--model", "tiny")
    found = results(report)
    assert found["limit"] == "max_tokens only"
    assert found["thinking"] == "in the text, in tags"
    assert found["tools"] == "passed over: explained by a prompt"
    assert found["stream_options"] == "taken; streams end without usage"
    assert found["other fields"] == "all taken"
    assert found["earlier thinking"] == "taken as reasoning_content"
    assert report["columns"] == {
        "dialect": "llama.cpp",
        "native_tools": False,
        "dialect_changes": {"thinking_format": "tagged"},
    }


async def test_a_model_whose_row_says_where_its_thinking_is_needs_no_change(upstream: Any) -> None:
    upstream.set_default_script(plain_local)
    await run_in_thread(ChatModel.objects.update, thinking_format="implied")
    report = await ask_json()
    assert "dialect_changes" not in report["columns"]


async def test_an_upstream_that_wants_thinking_back_is_found_out(upstream: Any) -> None:
    async def insist(exchange: Exchange) -> None:
        body = exchange.request.json if exchange.request.body else {}
        answers = [one for one in body.get("messages", ()) if one["role"] == "assistant"]
        if body.get("tools") and not all(one.get("reasoning_content") for one in answers):
            text = "The reasoning_content in the thinking mode must be passed back to the API."
            return await send_reply({"error": {"message": text}}, 400)(exchange)
        return await plain_local(exchange)

    upstream.set_default_script(insist)
    report = await ask_json()
    assert results(report)["earlier calls"] == "must have their thinking"
    changes = report["columns"]["dialect_changes"]
    assert changes["needs_thinking"] is True


async def test_a_field_whose_refusal_names_none_is_found_by_halves(upstream: Any) -> None:
    async def refuse_quietly(exchange: Exchange) -> None:
        body = exchange.request.json if exchange.request.body else {}
        if body.keys() & {"store", "safety_identifier"}:
            return await send_refusal(400, "Bad request.")(exchange)
        return await plain_local(exchange)

    upstream.set_default_script(refuse_quietly)
    report = await ask_json()
    assert results(report)["other fields"] == "refused: safety_identifier, store"
    changes = report["columns"]["dialect_changes"]
    assert changes["refused_fields"] == ["safety_identifier", "store"]


async def test_what_fails_in_passing_is_not_found_out_and_proves_nothing(upstream: Any) -> None:
    async def fail_with_tools(exchange: Exchange) -> None:
        if exchange.request.body and exchange.request.json.get("tools"):
            return await send_refusal(500, "Out of memory.")(exchange)
        return await plain_local(exchange)

    upstream.set_default_script(fail_with_tools)
    report = await ask_json()
    assert results(report)["tools"].startswith("not found out: ")
    assert "native_tools" not in report["columns"]


# --- what it costs, and what it writes ------------------------------------------------------------
async def test_costs_are_said_first_and_nothing_is_written_by_default(upstream: Any) -> None:
    upstream.set_default_script(strict_openai)
    said = (await ask()).splitlines()
    assert said[0].startswith("About ")
    assert f"to gpt-5, each with an answer of at most {MOST_ANSWER_TOKENS} tokens" in said[0]
    assert said[-1] == "Nothing was written; --apply writes it."
    assert (await read_row()).dialect_changes == {}
    asked = [request.json for request in upstream.requests if request.body]
    for body in asked[1:]:
        limit = body.get("max_tokens") or body.get("max_completion_tokens")
        assert limit == MOST_ANSWER_TOKENS


async def test_what_was_changed_by_hand_stays(upstream: Any) -> None:
    upstream.set_default_script(strict_openai)
    await run_in_thread(Provider.objects.update, dialect_changes={"leaked_forms": ["kimi"]})
    said = await ask("--apply")
    assert "Written:\n  dialect_changes: {" in said
    changes = (await read_row()).dialect_changes
    assert changes["leaked_forms"] == ["kimi"]
    assert changes["limit_field"] == "max_completion_tokens"


# --- upstreams that do not answer -----------------------------------------------------------------
async def test_an_upstream_that_does_not_answer_is_one_line(upstream: Any) -> None:
    upstream.set_default_script(dead_key)
    said = await run_in_thread(refused, "test_provider", "fake")
    assert said == "fake does not answer: Incorrect API key provided."
    assert len(upstream.requests) == 1
    await run_in_thread(Provider.objects.update, base_url="http://127.0.0.1:9/v1")
    await run_in_thread(rows.move_all_providers, "http://127.0.0.1:9/v1")
    said = await run_in_thread(refused, "test_provider", "fake")
    assert said.startswith("fake does not answer: ")


async def test_the_next_token_is_asked_when_one_is_rejected(
    upstream: Any, provider: Provider
) -> None:
    async def know_the_second(exchange: Exchange) -> None:
        is_second = exchange.request.bearer_token == "sk-up-2"
        await (strict_openai if is_second else dead_key)(exchange)

    await run_in_thread(rows.create_tokens, provider, "sk-up-2")
    upstream.set_default_script(know_the_second)
    assert results(await ask_json())["limit"] == "max_completion_tokens only"


async def test_a_provider_without_token_or_model_is_one_line(provider: Provider) -> None:
    await run_in_thread(ChatModel.objects.all().delete)
    said = await run_in_thread(refused, "test_provider", "fake")
    assert said == "fake has no model yet: name one with --model."
    await run_in_thread(provider.tokens.all().delete)
    said = await run_in_thread(refused, "test_provider", "fake", "--model", "m")
    assert said == "fake does not answer: It has no usable token."
    said = await run_in_thread(refused, "test_provider", "nobody")
    assert said == "There is no provider 'nobody'; there are: fake."


async def test_a_web_site_is_asked_for_its_answer_alone(upstream: Any) -> None:
    text = "<think>They want an OK.</think><answer>OK</answer>"
    upstream.set_default_script(send_stream({"content": text}, DONE))
    await run_in_thread(Provider.objects.update, kind="k2think_web")
    report = await ask_json()
    assert {name: text for name, text in results(report).items() if name != "models"} == {
        "limit": "left to the site",
        "usage": "not reported: tokens are counted here",
        "thinking": "in reasoning_content",
    }
    assert report["columns"] == {}


async def test_the_offline_model_can_be_asked_too(provider: Provider) -> None:
    await run_in_thread(
        Provider.objects.update, kind="echo", base_url="", needs_token=False, native_tools=False
    )
    report = await ask_json()
    assert results(report)["models"] == "1 listed, gpt-5 not among them"
    assert report["columns"] == {}
