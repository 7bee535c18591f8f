"""Whatever is sent: a body, or an error of the caller."""

import json
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from api.schemas import chat_request_body
from api.tests.schemas.request_bodies import (
    CHAT_FIELDS,
    COMPLETION_FIELDS,
    EMBEDDING_FIELDS,
    LEAST,
    LEAST_CHAT,
)
from providers.exceptions import CallerError
from providers.protocol.request import CHAT

OTHER_NAMES = """
model messages role content type text image_url url function name arguments id tool_call_id
json_schema stream_options api_base
""".split()
NAMES = st.sampled_from(sorted({*CHAT_FIELDS, *COMPLETION_FIELDS, *EMBEDDING_FIELDS, *OTHER_NAMES}))
VALUES = st.sampled_from(
    [
        "user",
        "assistant",
        "tool",
        "text",
        "image_url",
        "json_schema",
        "required",
        "",
        "x",
        "\0",
        "é",
    ]
)
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 200)
    | st.floats(allow_nan=False, allow_infinity=False)
    | VALUES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=15,
)
BODIES = st.dictionaries(NAMES, ANYTHING, max_size=6)


SPACED = st.sampled_from([(",", ":"), (", ", ": "), (" , ", " : "), (",\n", "\t:\r\n")])
TEXTS = st.sampled_from(["a", 'a":', '":', "a\\", '\\":', "[", "{", '"', "\\u0000", "é", "\u2028"])


@settings(derandomize=True, database=None, deadline=None, max_examples=200)
@given(
    st.recursive(TEXTS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner)),
    SPACED,
    st.booleans(),
)
def test_names_and_texts_of_any_kind_are_kept_however_the_body_is_spaced(
    value: Any, spaced: Any, ascii_: bool
) -> None:
    body = LEAST[CHAT] | {"x": value}
    assert (
        chat_request_body.read_request_body(
            CHAT, json.dumps(body, separators=spaced, ensure_ascii=ascii_).encode()
        )
        == body
    )


def outcome(endpoint: str, raw: bytes) -> dict[str, Any] | CallerError:
    try:
        return chat_request_body.read_request_body(endpoint, raw)
    except CallerError as error:
        return error


@settings(derandomize=True, database=None, deadline=None, max_examples=400)
@given(st.sampled_from(sorted(LEAST)), BODIES, st.booleans())
def test_any_json_is_a_body_or_an_error_of_the_caller(
    endpoint: str, body: dict[str, Any], complete: bool
) -> None:
    sent = LEAST[endpoint] | body if complete else body
    found = outcome(endpoint, orjson.dumps(sent))
    assert found.shown_status == 400 if isinstance(found, CallerError) else found == sent


@settings(derandomize=True, database=None, deadline=None, max_examples=200)
@given(st.sampled_from(sorted(LEAST)), st.binary(max_size=40), st.integers(0, len(LEAST_CHAT)))
def test_any_bytes_are_a_body_or_an_error_of_the_caller(
    endpoint: str, noise: bytes, place: int
) -> None:
    for raw in (noise, LEAST_CHAT[:place] + noise + LEAST_CHAT[place:]):
        found = outcome(endpoint, raw)
        assert (
            found.shown_status == 400 if isinstance(found, CallerError) else isinstance(found, dict)
        )
