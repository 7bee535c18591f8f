from typing import Any

import pytest

from api.authentication import (
    read_credential,
)
from api.tests.authentication.given_keys import headers
from providers.exceptions import InvalidKey, InvalidRequest


@pytest.mark.parametrize(
    "given",
    [
        headers("Bearer KEY"),
        headers("bearer KEY"),
        headers("BEARER KEY"),
        headers("Bearer   KEY  "),
        headers(None, "KEY"),
        headers("Bearer KEY", "KEY"),
        headers("Bearer KEY", ""),
    ],
    ids=str,
)
def test_one_credential_is_found_wherever_it_stands(given: dict[str, Any]) -> None:
    assert read_credential(given) == "KEY"


@pytest.mark.parametrize(
    "given",
    [
        headers(),
        headers(""),
        headers(" "),
        headers("Bearer"),
        headers("Bearer "),
        headers("Bearer\tKEY"),
        headers("BearerKEY"),
        headers("Basic dXNlcjpwYXNz"),
        headers("Token KEY"),
        headers("KEY"),
        headers(None, ""),
        headers("Bearer é"),
        headers("Bearer \u0661"),
        headers("Bearer K\0Y"),
        headers("Bearer K\x7fY"),
        headers("Bearer K\nY"),
        headers("Bearer " + "K" * 8_192),
        headers(None, "K" * 513),
        headers(None, "é"),
        headers(None, "\udc80"),
    ],
    ids=lambda given: str(given)[:60],
)
def test_a_missing_or_unusable_credential_is_a_401_that_repeats_nothing(
    given: dict[str, Any],
) -> None:
    with pytest.raises(InvalidKey) as caught:
        read_credential(given)
    assert (caught.value.shown_status, caught.value.shown_code) == (401, "invalid_api_key")
    assert "KKK" not in caught.value.message
    assert "dXNlcjpwYXNz" not in caught.value.message


def test_two_different_keys_are_a_400() -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_credential(headers("Bearer KEY", "OTHER"))
    assert (caught.value.shown_status, caught.value.shown_code) == (400, "ambiguous_credentials")
