import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.schemas import chat_request_body, json_body
from providers.exceptions import CallerError, InvalidJson, InvalidRequest
from providers.protocol.request import CHAT, COMPLETIONS, EMBEDDINGS

USER = {"role": "user", "content": "hi"}
LEAST: dict[str, dict[str, Any]] = {
    CHAT: {"model": "m", "messages": [USER]},
    COMPLETIONS: {"model": "m", "prompt": "hi"},
    EMBEDDINGS: {"model": "m", "input": "hi"},
}
TOOL = {
    "type": "function",
    "function": {"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True},
}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def read(endpoint: str, **fields: Any) -> dict[str, Any]:
    return chat_request_body.read_request_body(endpoint, orjson.dumps(LEAST[endpoint] | fields))


def refused(endpoint: str, **fields: Any) -> CallerError:
    with pytest.raises(CallerError) as caught:
        read(endpoint, **fields)
    assert caught.value.shown_status == 400
    return caught.value


# --- what is accepted and kept --------------------------------------------------------------------
CHAT_FIELDS: dict[str, list[Any]] = {
    "audio": [{"voice": "alloy", "format": "wav"}, None],
    "frequency_penalty": [-2, 0, 2, 0.5, None],
    "function_call": ["auto", "none", {"name": "f"}],
    "functions": [[{"name": "f"}], [], None],
    "logit_bias": [{"50256": -100, "1": 100}, {}, None],
    "logprobs": [True, False, None],
    "max_completion_tokens": [1, 100_000, None],
    "max_tokens": [1, 100_000, None],
    "metadata": [{"a": "b"}, {}, None],
    "modalities": [["text"], ["text", "audio"], None],
    "n": [1, 128, None],
    "parallel_tool_calls": [True, False],
    "prediction": [{"type": "content", "content": "x"}, None],
    "presence_penalty": [-2, 2, None],
    "prompt_cache_key": ["k", None],
    "reasoning_effort": ["none", "minimal", "low", "high", "xhigh", None],
    "response_format": [
        {"type": "text"},
        {"type": "json_object"},
        {
            "type": "json_schema",
            "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True},
        },
        None,
    ],
    "safety_identifier": ["s", None],
    "seed": [0, -(2**63), 2**63 - 1, None],
    "service_tier": ["auto", "flex", None],
    "stop": ["x", ["x"], ["a", "b", "c", "d"], [], None],
    "store": [True, False, None],
    "stream": [True, False, None],
    "temperature": [0, 2, 0.7, None],
    "tool_choice": ["none", "auto", None],
    "tools": [[TOOL], [{"type": "custom", "custom": {"name": "x"}}], [], None],
    "top_p": [0, 1, 0.5, None],
    "user": ["u", "", None],
    "verbosity": ["low", None],
    "web_search_options": [{}, {"search_context_size": "low"}, None],
    "conversation_id": ["c", None],
    "session_id": ["s", None],
}
COMPLETION_FIELDS: dict[str, list[Any]] = {
    "prompt": ["x", "", ["a", "b"], [1, 2, 3], [[1, 2], [3]], None],
    "best_of": [1, 20, None],
    "echo": [True, None],
    "logprobs": [0, 5, None],
    "suffix": ["x", None],
    "stop": ["x", ["a"]],
    "n": [1],
}
EMBEDDING_FIELDS: dict[str, list[Any]] = {
    "input": ["x", ["a", "b"], [1, 2, 3], [[1, 2], [3]]],
    "dimensions": [1, 256, None],
    "encoding_format": ["float", "base64", None],
    "user": ["u", None],
}
DOCUMENTED = [
    (endpoint, name, value)
    for endpoint, fields in (
        (CHAT, CHAT_FIELDS),
        (COMPLETIONS, COMPLETION_FIELDS),
        (EMBEDDINGS, EMBEDDING_FIELDS),
    )
    for name, values in fields.items()
    for value in values
]


@pytest.mark.parametrize(("endpoint", "name", "value"), DOCUMENTED)
def test_every_documented_field_is_taken_and_kept(endpoint: str, name: str, value: Any) -> None:
    assert read(endpoint, **{name: value}) == LEAST[endpoint] | {name: value}


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": [TOOL], "tool_choice": "required"},
        {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "f"}}},
        {"logprobs": True, "top_logprobs": 20},
        {"logprobs": True, "top_logprobs": 0},
        {"stream": True, "stream_options": {"include_usage": True, "include_obfuscation": False}},
        {"stream": True, "stream_options": None},
    ],
    ids=repr,
)
def test_fields_that_need_each_other_are_taken_together(fields: dict[str, Any]) -> None:
    assert read(CHAT, **fields) == LEAST[CHAT] | fields


MESSAGES = [
    {"role": "system", "content": "s"},
    {"role": "developer", "content": [{"type": "text", "text": "d"}]},
    {"role": "user", "content": "", "name": "n"},
    {
        "role": "user",
        "content": [
            {"type": "text", "text": ""},
            {
                "type": "image_url",
                "image_url": {"url": "data:image/png;base64,AA", "detail": "low"},
            },
            {"type": "image_url", "image_url": "https://example.com/x.png"},
            {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}},
            {"type": "file", "file": {"file_id": "f"}},
            {"type": "video_url", "video_url": {"url": "x"}},
        ],
    },
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "assistant", "content": None, "refusal": "no"},
    {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
    {
        "role": "assistant",
        "content": "a",
        "reasoning_content": "r",
        "reasoning": {"x": 1},
        "vendor": [1],
    },
    {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}},
    {"role": "tool", "content": "t", "tool_call_id": "c"},
    {"role": "function", "content": "f", "name": "f"},
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: str(message)[:50])
def test_every_kind_of_message_is_taken_as_it_is(message: dict[str, Any]) -> None:
    assert read(CHAT, messages=[USER, message])["messages"] == [USER, message]


def test_fields_it_does_not_know_are_kept_at_every_level() -> None:
    odd = {
        "top_k": 5,
        "thinking": {"type": "enabled"},
        "x": [None, {"y": 1.5}],
        "": "",
        "ü\u2028": "🎈",
    }
    message = USER | {"cache_control": {"type": "ephemeral"}}
    assert read(CHAT, **odd, messages=[message]) == {"model": "m", "messages": [message], **odd}
    for endpoint in (COMPLETIONS, EMBEDDINGS):
        assert read(endpoint, **odd) == LEAST[endpoint] | odd


@pytest.mark.parametrize("endpoint", LEAST)
@pytest.mark.parametrize("field", sorted(json_body.ROUTING_FIELDS))
def test_a_field_that_would_choose_a_url_header_or_credential_is_refused(
    endpoint: str, field: str
) -> None:
    for value in ("https://evil.example", {"Authorization": "x"}, None):
        error = refused(endpoint, **{field: value})
        assert (error.param, error.shown_code, error.type) == (
            field,
            "unknown_parameter",
            "invalid_request_error",
        )


def test_the_contract_names_these_routing_fields() -> None:
    assert {
        "api_base",
        "base_url",
        "api_key",
        "extra_headers",
        "custom_host",
    } <= json_body.ROUTING_FIELDS


# --- wrong types and ranges -----------------------------------------------------------------------
WRONG: list[tuple[str, dict[str, Any], str]] = [
    *(
        (endpoint, {"model": value}, "model")
        for endpoint in LEAST
        for value in (None, 5, "", [], "x" * 201, True)
    ),
    *((CHAT, {"messages": value}, "messages") for value in (None, [], {}, "x", 5)),
    *((CHAT, {"messages": [value]}, "messages[0]") for value in (None, "x", 5, [])),
    *(
        (CHAT, {"messages": [USER, {"role": value, "content": "x"}]}, "messages[1].role")
        for value in ("robot", 5, None)
    ),
    (CHAT, {"messages": [{"content": "x"}]}, "messages[0].role"),
    *(
        (CHAT, {"messages": [{"role": "user", "content": value}]}, "messages[0].content")
        for value in (5, {}, True)
    ),
    (CHAT, {"messages": [{"role": "user", "content": ["x"]}]}, "messages[0].content[0]"),
    (CHAT, {"messages": [{"role": "user", "content": [{}]}]}, "messages[0].content[0].type"),
    (
        CHAT,
        {"messages": [{"role": "user", "content": [{"type": 5}]}]},
        "messages[0].content[0].type",
    ),
    (
        CHAT,
        {"messages": [{"role": "user", "content": [{"type": "text", "text": 5}]}]},
        "messages[0].content[0].text",
    ),
    (
        CHAT,
        {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
        "messages[0].content[0].text",
    ),
    (
        CHAT,
        {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
        "messages[0].content[0].image_url",
    ),
    (
        CHAT,
        {
            "messages": [
                {"role": "user", "content": [{"type": "image_url", "image_url": {"url": 5}}]}
            ]
        },
        "messages[0].content[0].image_url.url",
    ),
    (
        CHAT,
        {"messages": [{"role": "user", "content": [{"type": "file"}]}]},
        "messages[0].content[0].file",
    ),
    *(
        (CHAT, {"messages": [{"role": role}]}, "messages[0].content")
        for role in ("system", "user", "tool", "assistant")
    ),
    (CHAT, {"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
    (
        CHAT,
        {"messages": [USER, {"role": "assistant", "tool_calls": "x"}]},
        "messages[1].tool_calls",
    ),
    (
        CHAT,
        {"messages": [{"role": "assistant", "tool_calls": [{}]}]},
        "messages[0].tool_calls[0].id",
    ),
    (
        CHAT,
        {
            "messages": [
                {
                    "role": "assistant",
                    "tool_calls": [CALL | {"function": {"name": "f", "arguments": {}}}],
                }
            ]
        },
        "messages[0].tool_calls[0].function.arguments",
    ),
    *(
        (CHAT, {name: value}, name)
        for name, values in {
            "frequency_penalty": [-2.1, 2.1, "1", True],
            "presence_penalty": [3, []],
            "logit_bias": [[], "x", {"1": 101}, {"1": "x"}, {"1": -101}],
            "logprobs": [1, "true"],
            "max_tokens": [0, -1, 1.5, "5", True],
            "max_completion_tokens": [0, "5"],
            "metadata": [[], {"a": 5}, "x"],
            "modalities": ["text"],
            "n": [0, 129, 1.5, "1", True],
            "parallel_tool_calls": ["yes", 1],
            "reasoning_effort": [5, ["low"]],
            "seed": ["x", 1.5],
            "stop": [5, {}, ["x"] * 17],
            "store": ["x", 1],
            "stream": ["true", 1, 0],
            "temperature": [-0.1, 2.1, "1", True],
            "top_p": [-0.1, 1.1, "x"],
            "top_logprobs": [21, -1, "x"],
            "user": [5, {}],
            "tools": ["x", {}],
            "functions": ["x", [{"name": "f"}] * 129],
            "response_format": ["json", 5, []],
            "tool_choice": [
                "always",
                "required",
                "",
                5,
                ["auto"],
                {"type": "function", "function": {"name": "f"}},
            ],
            "web_search_options": ["x"],
            "conversation_id": [5],
            "session_id": [{}],
        }.items()
        for value in values
    ),
    (CHAT, {"modalities": ["text", 5]}, "modalities[1]"),
    (CHAT, {"stop": ["x", 5]}, "stop[1]"),
    (CHAT, {"tools": [{}]}, "tools[0].type"),
    (CHAT, {"tools": [TOOL, {"type": "function", "function": {}}]}, "tools[1].function.name"),
    (CHAT, {"tools": [{"type": "function", "function": {"name": ""}}]}, "tools[0].function.name"),
    (CHAT, {"response_format": {}}, "response_format.type"),
    (CHAT, {"response_format": {"type": "xml"}}, "response_format.type"),
    (CHAT, {"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
    (
        CHAT,
        {"response_format": {"type": "json_schema", "json_schema": {}}},
        "response_format.json_schema.name",
    ),
    (
        CHAT,
        {"stream": True, "stream_options": {"include_usage": "yes"}},
        "stream_options.include_usage",
    ),
    (CHAT, {"stream_options": {"include_usage": True}}, "stream_options"),
    (CHAT, {"top_logprobs": 3}, "top_logprobs"),
    *((COMPLETIONS, {"prompt": value}, "prompt") for value in (5, {}, True)),
    *((COMPLETIONS, {"prompt": [value]}, "prompt[0]") for value in ({}, None, 1.5)),
    *((COMPLETIONS, {"best_of": value}, "best_of") for value in (0, "x")),
    (COMPLETIONS, {"logprobs": 6}, "logprobs"),
    (COMPLETIONS, {"logprobs": True}, "logprobs"),
    (COMPLETIONS, {"temperature": 3}, "temperature"),
    *((EMBEDDINGS, {"input": value}, "input") for value in (None, "", [], 5, {}, ["x"] * 2_049)),
    *((EMBEDDINGS, {"input": ["a", value]}, "input[1]") for value in ("", None, {}, 1.5)),
    *((EMBEDDINGS, {"dimensions": value}, "dimensions") for value in (0, "x", 65_537)),
    *((EMBEDDINGS, {"encoding_format": value}, "encoding_format") for value in ("hex", 5)),
]


@pytest.mark.parametrize(("endpoint", "fields", "param"), WRONG, ids=lambda value: str(value)[:60])
def test_a_wrong_value_is_a_400_that_names_the_field(
    endpoint: str, fields: dict[str, Any], param: str
) -> None:
    error = refused(endpoint, **fields)
    assert isinstance(error, InvalidRequest)
    assert error.param == param
    assert error.type == "invalid_request_error"
    assert error.shown_code in ("invalid_type", "invalid_value", "missing_required_parameter")
    assert error.message.isprintable()
    assert error.message.endswith(".")


@pytest.mark.parametrize(
    ("endpoint", "field"),
    [(endpoint, "model") for endpoint in LEAST]
    + [(CHAT, "messages"), (COMPLETIONS, "prompt"), (EMBEDDINGS, "input")],
)
def test_a_missing_field_is_named(endpoint: str, field: str) -> None:
    body = {name: value for name, value in LEAST[endpoint].items() if name != field}
    with pytest.raises(InvalidRequest) as caught:
        chat_request_body.read_request_body(endpoint, orjson.dumps(body))
    assert (caught.value.param, caught.value.shown_code) == (field, "missing_required_parameter")


def test_a_wrong_value_is_not_repeated_in_the_message() -> None:
    assert (
        "a-secret-of-the-caller" not in refused(CHAT, temperature="a-secret-of-the-caller").message
    )


# --- bytes ----------------------------------------------------------------------------------------
GOOD = orjson.dumps(LEAST[CHAT])


def with_field(value: bytes) -> bytes:
    return GOOD[:-1] + b',"x":' + value + b"}"


NOT_JSON = {
    "nothing": b"",
    "blanks": b" \n",
    "a word": b"nothing",
    "cut": GOOD[:-1],
    "two objects": GOOD * 2,
    "a comment": GOOD + b"// x",
    "single quotes": GOOD.replace(b'"', b"'"),
    "a trailing comma": GOOD[:-1] + b",}",
    "a BOM": b"\xef\xbb\xbf" + GOOD,
    "UTF-16": GOOD.decode().encode("utf-16"),
    "UTF-16 without BOM": GOOD.decode().encode("utf-16-le"),
    "UTF-32": GOOD.decode().encode("utf-32"),
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
    "the model twice": GOOD[:-1] + b',"model":"other"}',
}


@pytest.mark.parametrize("case", NOT_JSON)
def test_what_is_no_json_we_could_pass_on_is_invalid_json(case: str) -> None:
    with pytest.raises(InvalidJson) as caught:
        chat_request_body.read_request_body(CHAT, NOT_JSON[case])
    assert (caught.value.shown_status, caught.value.shown_code) == (400, "invalid_json")
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 300


@pytest.mark.parametrize(
    "raw", [b"[]", b"null", b'"x"', b"5", b"true", GOOD.join((b"[", b"]"))], ids=repr
)
@pytest.mark.parametrize("endpoint", LEAST)
def test_a_body_that_is_no_object_is_invalid_json(endpoint: str, raw: bytes) -> None:
    with pytest.raises(InvalidJson):
        chat_request_body.read_request_body(endpoint, raw)


@pytest.mark.parametrize(
    ("raw", "param"),
    [
        (GOOD.replace(b'"hi"', rb'"a\u0000b"'), "messages[0].content"),
        (GOOD.replace(b'"m"', rb'"\u0000"'), "model"),
        (with_field(rb'{"a": [1, "\u0000"]}'), "x.a[1]"),
        (with_field(rb'{"a\u0000": 1}'), "x"),
        (GOOD[:-1] + rb',"\u0000": 1}', None),
    ],
    ids=repr,
)
def test_a_nul_is_refused_with_its_place(raw: bytes, param: str | None) -> None:
    with pytest.raises(InvalidRequest, match="NUL") as caught:
        chat_request_body.read_request_body(CHAT, raw)
    assert caught.value.param == param


def test_a_backslash_before_u0000_is_only_text() -> None:
    assert (
        chat_request_body.read_request_body(CHAT, GOOD.replace(b'"hi"', rb'"\\u0000"'))["messages"][
            0
        ]["content"]
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
    assert read(CHAT, messages=[{"role": "user", "content": "[{" * 5_000}])


# --- whatever is sent -----------------------------------------------------------------------------
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
@given(st.sampled_from(sorted(LEAST)), st.binary(max_size=40), st.integers(0, len(GOOD)))
def test_any_bytes_are_a_body_or_an_error_of_the_caller(
    endpoint: str, noise: bytes, place: int
) -> None:
    for raw in (noise, GOOD[:place] + noise + GOOD[place:]):
        found = outcome(endpoint, raw)
        assert (
            found.shown_status == 400 if isinstance(found, CallerError) else isinstance(found, dict)
        )
