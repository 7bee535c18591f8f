"""Which error an upstream's refusal becomes: by its error object, else by its status."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers import exceptions
from providers.exceptions import (
    AuthRejected,
    BadResponse,
    Contended,
    ModelMissing,
    ProviderError,
    QuotaExhausted,
    RateLimited,
    Rejected,
    ServerFailed,
    UnexpectedRedirect,
    UpstreamError,
)
from providers.tests.upstream.refusals import map_refusal
from providers.upstream.error_mapping import (
    ERROR_CODES,
    find_error_object,
    map_error_answer,
)

FAST = settings(derandomize=True, database=None, deadline=None, max_examples=250)


# --- what a status means --------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("status", "expected", "shown"),
    [
        (401, AuthRejected, 503),  # the caller's own key is fine
        (402, QuotaExhausted, 503),
        (403, AuthRejected, 503),
        (404, ModelMissing, 404),
        (408, Contended, 504),
        (409, Contended, 409),
        (425, Contended, 503),
        (429, RateLimited, 429),
        *((status, Rejected, status) for status in (400, 405, 413, 415, 422)),
        *((status, Rejected, 400) for status in (410, 418, 431, 451)),
        *(
            (status, ServerFailed, 502)
            for status in (500, 501, 502, 503, 520, 521, 523, 525, 526, 529, 530)
        ),
        *((status, ServerFailed, 504) for status in (504, 522, 524)),
        *((status, UnexpectedRedirect, 502) for status in (300, 301, 302, 303, 307, 308)),
        *((status, BadResponse, 502) for status in (201, 202, 204, 206, 226)),
        (None, ServerFailed, 502),
    ],
)
def test_a_status_alone_means(
    status: int | None, expected: type[UpstreamError], shown: int
) -> None:
    found = map_refusal(status)
    assert type(found) is expected
    assert found.shown_status == shown
    assert found.upstream_status == status
    assert found.message


def test_a_timeout_of_the_upstream_is_told_as_one() -> None:
    assert {map_refusal(status).shown_code for status in (504, 522, 524)} == {"upstream_timeout"}


# --- the error object decides before the status ---------------------------------------------------
@pytest.mark.parametrize(
    ("status", "error", "expected"),
    [
        # OpenAI
        (
            401,
            {"code": "invalid_api_key", "type": "invalid_request_error", "param": None},
            AuthRejected,
        ),
        (429, {"code": "insufficient_quota", "type": "insufficient_quota"}, QuotaExhausted),
        (429, {"code": "rate_limit_exceeded", "type": "requests"}, RateLimited),
        (
            429,
            {"code": "billing_hard_limit_reached", "type": "invalid_request_error"},
            QuotaExhausted,
        ),
        (
            400,
            {
                "code": "context_length_exceeded",
                "type": "invalid_request_error",
                "param": "messages",
            },
            Rejected,
        ),
        (404, {"code": "model_not_found", "type": "invalid_request_error"}, ModelMissing),
        (400, {"code": "model_not_found"}, ModelMissing),
        (500, {"type": "server_error", "code": None}, ServerFailed),
        (403, {"code": "content_policy_violation"}, Rejected),
        (
            403,
            {"code": "unsupported_country_region_territory", "type": "request_forbidden"},
            ProviderError,
        ),
        # Moonshot
        (401, {"type": "invalid_authentication_error"}, AuthRejected),
        (401, {"type": "incorrect_api_key_error"}, AuthRejected),
        (429, {"type": "exceeded_current_quota_error"}, QuotaExhausted),
        (429, {"type": "rate_limit_reached_error"}, RateLimited),
        (429, {"type": "engine_overloaded_error"}, ServerFailed),
        (404, {"type": "resource_not_found_error"}, ModelMissing),
        (400, {"type": "content_filter"}, Rejected),
        (400, {"type": "invalid_request_error"}, Rejected),
        # DeepSeek, OpenRouter, vLLM
        (402, {"type": "unknown_error", "code": "invalid_request_error"}, QuotaExhausted),
        (402, {"code": 402, "message": "Insufficient credits"}, QuotaExhausted),
        (429, {"code": 429, "message": "Rate limited"}, RateLimited),
        (400, {"object": "error", "type": "BadRequestError", "param": None, "code": 400}, Rejected),
        (404, {"object": "error", "type": "NotFoundError", "code": 404}, ModelMissing),
        # capitals
        (429, {"code": "INSUFFICIENT_QUOTA"}, QuotaExhausted),
        (401, {"type": "Authentication_Error"}, AuthRejected),
        # an unknown code leaves it to the type, an unknown type to the status
        (429, {"code": "who_knows", "type": "insufficient_quota"}, QuotaExhausted),
        (429, {"code": "who_knows", "type": "nor_this"}, RateLimited),
        # a 401 that names a parameter is about the request
        (401, {"param": "model", "message": "no access to this parameter"}, Rejected),
        (401, {"code": "invalid_api_key", "param": "tools"}, Rejected),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else str(value),
)  # fmt: skip
def test_the_error_object_decides(
    status: int, error: dict[str, Any], expected: type[UpstreamError]
) -> None:
    assert isinstance(map_refusal(status, error), expected)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ({"code": 429, "message": "slow down"}, RateLimited),
        ({"code": "401"}, AuthRejected),
        ({"code": 400, "type": "BadRequestError"}, Rejected),
        ({"code": "insufficient_quota"}, QuotaExhausted),
        ({"type": "overloaded_error"}, ServerFailed),
        ({"code": "context_length_exceeded", "type": "invalid_request_error"}, Rejected),
        (
            {
                "type": "invalid_request_error",
                "code": None,
                "message": "messages must not be empty",
            },
            Rejected,
        ),
        ({"message": "something"}, ServerFailed),
    ],
    ids=repr,
)
def test_an_error_inside_a_stream_is_told_by_its_code(
    error: dict[str, Any], expected: type[UpstreamError]
) -> None:
    assert type(map_refusal(None, error)) is expected


def test_what_the_caller_did_wrong_is_passed_on_with_status_code_param_and_message() -> None:
    found = map_refusal(422, {"message": "n is too large", "code": "invalid_value", "param": "n"})
    assert (found.shown_status, found.shown_code, found.param) == (422, "invalid_value", "n")
    assert (found.type, found.message) == ("invalid_request_error", "n is too large")


def test_a_rejection_that_names_a_parameter_with_401_is_never_a_401() -> None:
    assert map_refusal(401, {"param": "model"}).shown_status == 400


@pytest.mark.parametrize("param", [5, [], {}, None, "", True])
def test_a_param_that_is_no_text_is_left_out(param: Any) -> None:
    assert map_refusal(400, {"param": param}).param is None


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (200, BadResponse),
        (400, BadResponse),
        (403, BadResponse),
        (422, BadResponse),
        (503, ServerFailed),
        (520, ServerFailed),
    ],
)
def test_a_web_page_is_the_providers_fault_and_not_the_tokens(
    status: int, expected: type[UpstreamError]
) -> None:
    assert type(map_refusal(status, None, content_type=b"text/html; charset=utf-8")) is expected


def test_every_code_means_an_upstream_error_in_lower_case() -> None:
    assert all(
        issubclass(kind, UpstreamError) and code == code.lower()
        for code, kind in ERROR_CODES.items()
    )


# --- the error object of a body -------------------------------------------------------------------
@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"error": {"message": "m"}}, "m"),
        ({"error": "m"}, "m"),
        ({"object": "error", "message": "m", "code": 400}, "m"),
        ({"type": "error", "message": "m"}, "m"),
        ({"detail": "m"}, "m"),
        ({"message": "m"}, "m"),
        ({"detail": [{"loc": ["body"], "msg": "m"}]}, "[{'loc': ['body'], 'msg': 'm'}]"),
    ],
    ids=repr,
)
def test_the_error_object_is_found_in_every_dialect(body: dict[str, Any], message: str) -> None:
    found = find_error_object(body)
    assert found is not None
    assert found["message"] == message


@pytest.mark.parametrize(
    "body", [{}, {"choices": []}, {"error": None}, {"error": ""}, {"detail": ""}, {"data": []}]
)
def test_an_answer_without_an_error_has_none(body: dict[str, Any]) -> None:
    assert find_error_object(body) is None


ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(sorted(ERROR_CODES)),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=5,
)
FIELDS = st.sampled_from(
    ["code", "type", "message", "param", "error", "detail", "object", "status_code"]
)


@FAST
@given(st.integers(100, 999) | ANY, st.dictionaries(FIELDS, ANY), st.booleans())
def test_any_refusal_is_an_upstream_error_that_can_be_shown(
    status: Any, body: dict[str, Any], html: bool
) -> None:
    found = map_refusal(status, find_error_object(body), content_type=b"text/html" if html else b"")
    assert isinstance(found, UpstreamError)
    assert 400 <= found.shown_status <= 599
    assert found.message
    assert found.message.isprintable()
    assert isinstance(found.shown_code, str)
    assert isinstance(found.param, str | None)


def test_a_code_of_digits_that_are_no_number_is_only_a_code() -> None:
    assert type(map_refusal(None, {"code": "²²²"})) is ServerFailed


def test_the_tree_in_the_docstring_has_every_class() -> None:
    drawn = exceptions.__doc__ or ""
    classes = [name for name, value in vars(exceptions).items() if isinstance(value, type)]
    assert [name for name in classes if name != "ClassVar" and name not in drawn] == []


def test_input_that_was_flagged_is_the_callers_fault_and_no_tokens() -> None:
    """OpenRouter says so with a 403."""
    metadata = {
        "reasons": ["violence"],
        "flagged_input": "x",
        "provider_name": "OpenAI",
        "model_slug": "gpt",
    }
    error = {"code": 403, "message": "Your input was flagged.", "metadata": metadata}
    assert type(map_error_answer(ERROR_CODES, 403, error, {})) is Rejected
    assert (
        type(
            map_error_answer(
                ERROR_CODES, 403, error | {"metadata": {"provider_name": "OpenAI"}}, {}
            )
        )
        is AuthRejected
    )
