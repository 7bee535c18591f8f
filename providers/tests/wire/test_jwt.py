import json
from base64 import urlsafe_b64encode
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.wire import jwt

FAST = settings(derandomize=True, database=None, deadline=None, max_examples=150)


def part(value: Any) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return urlsafe_b64encode(data).decode().rstrip("=")


def token(payload: Any) -> str:
    return f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part(payload)}.{part(b'no signature')}"


def test_the_payload_is_read_without_its_key() -> None:
    assert jwt.read_claims(token({"id": "u-1", "exp": 1_800_000_000, "é": "ü?>"})) == {
        "id": "u-1",
        "exp": 1_800_000_000,
        "é": "ü?>",
    }


@pytest.mark.parametrize("size", range(8))
def test_payloads_of_every_length_are_read_though_their_padding_is_left_out(size: int) -> None:
    assert jwt.read_claims(token({"id": "x" * size})) == {"id": "x" * size}


def test_padding_that_is_there_does_no_harm() -> None:
    head, payload, signature = token({"id": "ab"}).split(".")
    assert jwt.read_claims(f"{head}.{payload}{'=' * (-len(payload) % 4)}.{signature}") == {
        "id": "ab"
    }


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        (1_800_000_000, datetime(2027, 1, 15, 8, 0, tzinfo=UTC)),
        (1_800_000_000.5, datetime(2027, 1, 15, 8, 0, 0, 500_000, tzinfo=UTC)),
    ],
)
def test_the_end_is_an_aware_time(ends: float, expected: datetime) -> None:
    assert jwt.read_expiry(token({"exp": ends})) == expected


@pytest.mark.parametrize(
    "ends", [None, "1800000000", True, 0, -5, 10**18, 1e300, [1], {}], ids=repr
)
def test_an_end_that_is_no_time_is_none(ends: Any) -> None:
    assert jwt.read_expiry(token({"exp": ends})) is None


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            ".",
            "..",
            "...",
            "sk-abc",
            "a.b",
            "a.b.c.d",
            "a.é.c",
            "a.!!!!.c",
            "a.e30",
            f"a.{part([1])}.c",
        ),
        *(f"a.{part(payload)}.c" for payload in (b"{", b"null", b"\xff\xfe")),
        "\ud800.\ud800.\ud800",
    ],
    ids=ascii,
)
def test_what_is_no_jwt_says_nothing(text: str) -> None:
    assert jwt.read_claims(text) is None
    assert jwt.read_expiry(text) is None


def test_a_token_without_an_end_has_none() -> None:
    assert jwt.read_claims(token({})) == {}
    assert jwt.read_expiry(token({})) is None


def test_a_token_too_long_to_be_one_is_not_looked_into() -> None:
    assert jwt.read_claims(token({"exp": 1_800_000_000, "x": "y" * jwt.MOST_TOKEN_CHARS})) is None


@FAST
@given(
    st.text()
    | st.binary().map(lambda data: f"a.{part(data)}.c")
    | st.text().map(lambda text: f"a.{text}.c")
)
def test_whatever_the_text_nothing_is_raised(text: str) -> None:
    jwt.read_expiry(text)
