import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.wire.json_reader import read_json

FAST = settings(derandomize=True, database=None, deadline=None, max_examples=150)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
)
VALUES = st.recursive(
    SCALARS | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


def written_and_read_again(value: Any) -> Any:
    return orjson.loads(orjson.dumps(value))


@FAST
@given(VALUES)
def test_what_is_valid_json_is_read_as_it_is(value: Any) -> None:
    assert read_json(json.dumps(value).encode()) == value
    assert read_json(json.dumps(value, ensure_ascii=False).encode("utf-8")) == value


MENDED = {
    "a lone high surrogate": (rb'{"a": "x\ud83dy"}', {"a": "x\ufffdy"}),
    "a lone low surrogate": (rb'["\udc00"]', ["\ufffd"]),
    "a surrogate in a name": (rb'{"\ud800": 1}', {"\ufffd": 1}),
    "a pair is one character": (rb'["\ud83c\udf88"]', ["🎈"]),
    "a lone one beside a pair": (rb'["\ud83c\udf88\ud83c"]', ["🎈\ufffd"]),
    "invalid UTF-8": (b'["a\xff\xfeb"]', ["a\ufffd\ufffdb"]),
    "UTF-8 that was cut": ('["東'.encode()[:-1] + b'"]', ["\ufffd"]),
    "bare control characters": (b'["a\tb\x01c\nd"]', ["a\tb\x01c\nd"]),
    "a BOM": (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
    "a BOM inside a text that needs mending": (rb'["\ufeffx\ud800"]', ["\ufeffx\ufffd"]),
}


@pytest.mark.parametrize("case", MENDED)
def test_what_python_can_read_is_mended(case: str) -> None:
    data, expected = MENDED[case]
    assert read_json(data) == expected == written_and_read_again(expected)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" ",
        b"nothing",
        b"{",
        b'{"a": 1} x',
        b"{'a': 1}",
        b"[1,]",
        b"NaN",
        b'{"a": Infinity}',
        b"[-Infinity]",
        b"<html>",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"[" * 5_000 + b"]" * 5_000,
        b"1" * 10_000,
        b'["\\ud800", ' + b"1" * 10_000 + b"]",
        b"\xff\xfe[\x001\x00]\x00",
    ],
    ids=lambda data: repr(data[:16]),
)
def test_what_is_no_json_or_nested_without_end_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of any text
        read_json(data)


@pytest.mark.parametrize(
    "data",
    [
        b"[1e400]",
        b'{"a": -1e999}',
        b'{"a": "\\ud800", "b": 1e400}',
        b'{"a": "\\ud800", "b": 123456789012345678901234567890}',
        b"[" * 500 + b"]" * 500,
        b'{"a":' * 300 + b"1" + b"}" * 300,
    ],
    ids=lambda data: repr(data[:44]),
)
def test_a_value_that_could_not_be_written_again_is_refused_or_mended(data: bytes) -> None:
    try:
        value = read_json(data)
    except ValueError:
        return
    assert written_and_read_again(value) == value


PIECES = [
    *(
        b"[",
        b"]",
        b"{",
        b"}",
        b",",
        b":",
        b'"',
        b" ",
        b"a",
        b"1",
        b"-",
        b".",
        b"e5",
        b"null",
        b"true",
        b"\\n",
        b"\\u0041",
    ),
    *(
        b"\\ud83d",
        b"\\udc00",
        b"\xff",
        b"\xc3",
        b"\xe2\x80\xa8",
        b"\x00",
        b"\x1f",
        b'"a":',
        b'["',
        b'"]',
        b"1e400",
    ),
]


@FAST
@given(st.lists(st.sampled_from(PIECES), max_size=14).map(b"".join) | st.binary(max_size=30))
def test_any_bytes_are_a_value_that_can_be_written_again_or_a_value_error(data: bytes) -> None:
    try:
        value = read_json(data)
    except ValueError:
        return
    assert written_and_read_again(value) == value
