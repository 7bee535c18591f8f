"""Bytes that are JSON, and bytes that are not."""

import json

import orjson
import pytest

from api.schemas import chat_request_body
from api.tests.schemas.request_bodies import (
    LEAST,
    LEAST_CHAT,
    read_body,
)
from providers.exceptions import CallerError, InvalidJson, InvalidRequest
from providers.protocol.request import CHAT


def with_field(value: bytes) -> bytes:
    return LEAST_CHAT[:-1] + b',"x":' + value + b"}"


NOT_JSON = {
    "nothing": b"",
    "blanks": b" \n",
    "a word": b"nothing",
    "cut": LEAST_CHAT[:-1],
    "two objects": LEAST_CHAT * 2,
    "a comment": LEAST_CHAT + b"// x",
    "single quotes": LEAST_CHAT.replace(b'"', b"'"),
    "a trailing comma": LEAST_CHAT[:-1] + b",}",
    "a BOM": b"\xef\xbb\xbf" + LEAST_CHAT,
    "UTF-16": LEAST_CHAT.decode().encode("utf-16"),
    "UTF-16 without BOM": LEAST_CHAT.decode().encode("utf-16-le"),
    "UTF-32": LEAST_CHAT.decode().encode("utf-32"),
    "Latin-1": with_field('"é"'.encode("latin-1")),
    "cut UTF-8": with_field(b'"\xe6\x9d"'),
    "overlong UTF-8": with_field(b'"\xc0\xaf"'),
    "a surrogate in UTF-8": with_field(b'"\xed\xa0\x80"'),
    "a lone high surrogate": with_field(rb'"\ud83d"'),
    "a lone low surrogate": with_field(rb'"\udc00x"'),
    "surrogates in the wrong order": with_field(rb'"\udc00\ud83d"'),
    "a bare NUL": with_field(b'"\0"'),
    "a bare line end": with_field(b'"\n"'),
    "NaN": with_field(b"NaN"),
    "Infinity": with_field(b"-Infinity"),
    "1e400": with_field(b"1e400"),
    "-1e999": with_field(b"[-1e999]"),
    "a number with a leading zero": with_field(b"01"),
    "hexadecimal": with_field(b"0x1"),
    "deep lists": with_field(b"[" * 65 + b"]" * 65),
    "deeper lists": with_field(b"[" * 900 + b"]" * 900),
    "too deep for the reader": with_field(b"[" * 100_000 + b"]" * 100_000),
    "deep and never closed": with_field(b"[" * 100_000),
    "deep objects": with_field(b'{"a":' * 100 + b"1" + b"}" * 100),
    "deep inside a message": orjson.dumps(LEAST[CHAT]).replace(
        b'"hi"', b'[{"type":"t","x":' + b"[" * 90 + b"]" * 90 + b"}]"
    ),
    "a number beyond 64 bits": with_field(b"123456789012345678901234567890"),
    "a name twice": with_field(b"1").replace(b'"x":1', b'"x":1,"x":2'),
    "a name twice, once with a blank before its colon": with_field(b"1").replace(
        b'"x":1', b'"x":1,"x" :2'
    ),
    "a name twice beside one that ends in a backslash": with_field(rb'{"a\\":1,"b":1,"b":2}'),
    "a name twice in two spellings": with_field(rb'{"a":1,"\u0061":2}'),
    "the model twice": LEAST_CHAT[:-1] + b',"model":"other"}',
}


@pytest.mark.parametrize("case", NOT_JSON)
def test_what_is_no_json_we_could_pass_on_is_invalid_json(case: str) -> None:
    with pytest.raises(InvalidJson) as caught:
        chat_request_body.read_request_body(CHAT, NOT_JSON[case])
    assert (caught.value.shown_status, caught.value.shown_code) == (400, "invalid_json")
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 300


@pytest.mark.parametrize(
    "raw", [b"[]", b"null", b'"x"', b"5", b"true", LEAST_CHAT.join((b"[", b"]"))], ids=repr
)
@pytest.mark.parametrize("endpoint", LEAST)
def test_a_body_that_is_no_object_is_invalid_json(endpoint: str, raw: bytes) -> None:
    with pytest.raises(InvalidJson):
        chat_request_body.read_request_body(endpoint, raw)


@pytest.mark.parametrize(
    ("raw", "param"),
    [
        (LEAST_CHAT.replace(b'"hi"', rb'"a\u0000b"'), "messages[0].content"),
        (LEAST_CHAT.replace(b'"m"', rb'"\u0000"'), "model"),
        (with_field(rb'{"a": [1, "\u0000"]}'), "x.a[1]"),
        (with_field(rb'{"a\u0000": 1}'), "x"),
        (LEAST_CHAT[:-1] + rb',"\u0000": 1}', None),
    ],
    ids=repr,
)
def test_a_nul_is_refused_with_its_place(raw: bytes, param: str | None) -> None:
    with pytest.raises(InvalidRequest, match="NUL") as caught:
        chat_request_body.read_request_body(CHAT, raw)
    assert caught.value.param == param


def test_a_backslash_before_u0000_is_only_text() -> None:
    assert (
        chat_request_body.read_request_body(CHAT, LEAST_CHAT.replace(b'"hi"', rb'"\\u0000"'))[
            "messages"
        ][0]["content"]
        == r"\u0000"
    )


@pytest.mark.parametrize("depth", [100, 900, 1_015])
def test_a_nul_deep_below_is_a_400_too(depth: int) -> None:
    with pytest.raises(CallerError) as caught:
        chat_request_body.read_request_body(
            CHAT, with_field(b"[" * depth + rb'"\u0000"' + b"]" * depth)
        )
    assert caught.value.shown_status == 400
    assert len(caught.value.param or "") < 300


def test_sixty_levels_are_taken() -> None:
    assert chat_request_body.read_request_body(CHAT, with_field(b"[" * 60 + b"]" * 60))[
        "x"
    ] == json.loads("[" * 60 + "]" * 60)


def test_brackets_inside_texts_do_not_count_as_depth() -> None:
    assert read_body(CHAT, messages=[{"role": "user", "content": "[{" * 5_000}])


@pytest.mark.parametrize(
    "number",
    [
        "1.7976931348623157e308",
        "-3.4028234663852886e38",
        "1e20",
        "1E+20",
        "100000000000000000000.0",
    ],
)
@pytest.mark.parametrize("size", [1, 3_000], ids=["small", "large"])
def test_a_number_that_is_written_as_a_float_loses_nothing(number: str, size: int) -> None:
    body = chat_request_body.read_request_body(
        CHAT, with_field(b"[%b]" % b",".join([number.encode()] * size))
    )
    assert body["x"] == [float(number)] * size


@pytest.mark.parametrize(
    "number", ["18446744073709551616", "-9223372036854775809", "1" + "0" * 20, "9" * 300]
)
def test_an_integer_that_would_lose_digits_is_refused_beside_large_floats(number: str) -> None:
    with pytest.raises(InvalidJson, match="integer beyond 64 bits"):
        chat_request_body.read_request_body(CHAT, with_field(b"[1e20, %b]" % number.encode()))
