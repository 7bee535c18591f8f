"""The field that a refusal is about, in the words of many services, and what is done about it."""

import pytest

from providers.dialects import RefusedFields
from providers.dialects.refused_fields import find_refused_field
from providers.exceptions import Rejected

MISTRAL = (
    "[{'type': 'extra_forbidden', 'loc': ['body', 'store'], 'msg': 'Extra inputs are not "
    "permitted', 'input': False}]"
)
GROQ = "property 'service_tier' is unsupported"
GEMINI = 'Invalid JSON payload received. Unknown name "store": Cannot find field.'
OPENAI_LIMIT = (
    "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
    "'max_completion_tokens' instead."
)
TEMPERATURE = (
    "Unsupported value: 'temperature' does not support 0.3 with this model. Only the default (1) "
    "value is supported."
)


@pytest.mark.parametrize(
    ("message", "param", "code", "field"),
    [
        (OPENAI_LIMIT, "max_tokens", "unsupported_parameter", "max_tokens"),
        (OPENAI_LIMIT, None, None, "max_tokens"),
        (TEMPERATURE, "temperature", "unsupported_value", "temperature"),
        ("Unknown parameter: 'store'.", "store", "unknown_parameter", "store"),
        ("Unrecognized request argument supplied: seed", None, None, "seed"),
        ("no", "stream_options.include_usage", "unknown_parameter", "stream_options"),
        (MISTRAL, None, None, "store"),
        (GROQ, None, None, "service_tier"),
        (GEMINI, None, None, "store"),
        ("reasoning_effort is not supported with this model", None, None, "reasoning_effort"),
        ("The messages are too long.", "messages", "context_length_exceeded", ""),
        ("Invalid 'temperature': it is above 2.", "temperature", "invalid_value", ""),
    ],
)
def test_the_refused_field_is_found(
    message: str, param: str | None, code: str | None, field: str
) -> None:
    assert find_refused_field(Rejected(message, param=param, code=code)) == field


def refuse(name: str) -> Rejected:
    return Rejected("no", param=name, code="unsupported_parameter")


def test_a_refused_limit_gets_its_other_name() -> None:
    refused = RefusedFields()
    assert refused.learn_refusal("m", {"max_tokens": 5}, refuse("max_tokens")) == "max_tokens"
    body = {"max_tokens": 5}
    refused.rewrite_body("m", body)
    assert body == {"max_completion_tokens": 5}


def test_an_upstream_that_refuses_both_names_keeps_its_word() -> None:
    refused = RefusedFields()
    refused.learn_refusal("m", {"max_tokens": 5}, refuse("max_tokens"))
    body = {"max_completion_tokens": 5}
    assert refused.learn_refusal("m", body, refuse("max_completion_tokens")) == ""


def test_a_refused_field_without_another_name_is_left_out_for_this_model_only() -> None:
    refused = RefusedFields()
    assert refused.learn_refusal("m", {"temperature": 0.3}, refuse("temperature")) == "temperature"
    for model, sent in (("m", {}), ("other", {"temperature": 0.3})):
        body = {"temperature": 0.3}
        refused.rewrite_body(model, body)
        assert body == sent


def test_what_another_request_has_learnt_meanwhile_is_asked_again_too() -> None:
    refused = RefusedFields()
    refused.learn_refusal("m", {"seed": 1}, refuse("seed"))
    assert refused.learn_refusal("m", {}, refuse("seed")) == "seed"


@pytest.mark.parametrize("name", ["messages", "tools", "response_format", "n", "stop", "logprobs"])
def test_what_the_caller_asks_for_is_never_left_out(name: str) -> None:
    assert RefusedFields().learn_refusal("m", {name: 1}, refuse(name)) == ""


def test_a_field_that_was_not_sent_teaches_nothing() -> None:
    assert RefusedFields().learn_refusal("m", {"seed": 1}, refuse("temperature")) == ""
