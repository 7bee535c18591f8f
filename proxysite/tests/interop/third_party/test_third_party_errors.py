"""Errors of third-party servers: limits, rejected tokens, refusals, streams that break off."""

import json
from typing import Any

import openai
import pytest

from proxysite.tests.interop.third_party.third_party import (
    SAID,
    TOKEN,
    build_messages,
    only_aimock,
    retry_until_in_force,
)
from proxysite.tests.processes import patiently

pytestmark = pytest.mark.interop


def test_a_model_that_the_upstream_does_not_have_is_the_callers_error_and_hurts_no_token(
    gateway, client, third
):
    for stream in (False, True):
        with pytest.raises(third.unknown_model) as caught:
            client.chat.completions.create(
                model=third.model("not-there"), messages=build_messages("hello"), stream=stream
            )
        assert caught.value.body["message"]
        assert TOKEN not in caught.value.message
    row = gateway.ledger(third.model("not-there"))[-1]
    assert (row["status"], len(json.loads(row["attempts"]))) == ("error", 1)
    (token,) = gateway.tokens(third.name)
    assert (token["state"], token["strikes"], token["rests_until"]) == ("active", 0, None)


def test_its_rate_limit_rests_the_token_and_reaches_the_caller(gateway, client, third):
    name = f"{third.name}-limited"
    model = f"{name}/m"
    gateway.provide(name, f"{third.url}/v1", f"{model}=limited", tokens=[TOKEN])
    for outcome in ("RateLimited", "skipped"):  # the second time nobody is asked
        with pytest.raises(openai.RateLimitError) as caught:
            retry_until_in_force(
                lambda: client.chat.completions.create(
                    model=model, messages=build_messages("hello")
                )
            )
        assert int(caught.value.response.headers["retry-after"]) >= 1
        (attempt,) = json.loads(gateway.ledger(model)[-1]["attempts"])
        assert attempt["outcome"] == outcome
    (token,) = gateway.tokens(name)
    assert (token["state"], token["strikes"]) == ("active", 0)


@only_aimock
def test_a_token_it_rejects_is_struck_and_the_next_one_answers(gateway, client, third):
    gateway.provide(
        "aimock-two", f"{third.url}/v1", "aimock-two/m=talk", tokens=["sk-nobody-knows-it", TOKEN]
    )
    two = {"model": "aimock-two/m", "messages": build_messages("hello")}

    def struck() -> list[dict[str, Any]]:
        answer = retry_until_in_force(lambda: client.chat.completions.create(**two))
        assert answer.choices[0].message.content == SAID
        return [token for token in gateway.tokens("aimock-two") if token["state"] == "disabled"]

    (token,) = patiently(struck, "the rejected token disabled")
    assert token["strikes"] == 3
    tried = [
        json.loads(row["attempts"])
        for row in gateway.ledger("aimock-two/m")
        if row["status"] == "complete"
    ]
    assert sum(len(attempts) for attempts in tried) == len(tried) + 3


@only_aimock
def test_a_request_that_it_refuses_comes_back_with_its_words(client, third):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(
            model=third.model("talk"), messages=build_messages("too hot"), temperature=2
        )
    assert caught.value.body["message"] == "temperature must be at most 2"


@only_aimock
def test_a_stream_that_it_breaks_off_does_not_look_finished(gateway, client, third):
    heard: list[Any] = []

    def listen() -> None:
        with client.chat.completions.create(
            model=third.model("breaks"), messages=build_messages("hello"), stream=True
        ) as stream:
            for chunk in stream:
                heard.extend(chunk.choices)

    with pytest.raises(openai.APIError) as caught:
        listen()
    text = "".join(choice.delta.content or "" for choice in heard)
    assert text
    assert SAID.startswith(text)
    assert not any(choice.finish_reason for choice in heard)
    assert caught.value.code == "upstream_disconnected"
    row = gateway.ledger(third.model("breaks"))[-1]
    assert (row["status"], row["estimated"]) == ("truncated", 1)
    assert row["completion_tokens"] > 0
