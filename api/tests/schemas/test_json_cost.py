"""What a body in JSON consists of, counted before it is read."""

import json

import orjson
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as with_settings
from hypothesis import strategies as st

from api.responses.request import schema
from api.schemas import chat_request_body, json_cost
from api.schemas.json_cost import measure_structure
from providers.exceptions import InvalidJson, InvalidRequest
from providers.protocol.request import CHAT, COMPLETIONS, EMBEDDINGS

TEXTS = st.text() | st.text(alphabet='[]{},:"\\/ \n中')
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | TEXTS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXTS, inner, max_size=5),
    max_leaves=30,
)


def counted(value):
    """Items, names and levels of a value, by walking through it."""
    if isinstance(value, dict):
        inner = [counted(item) for item in value.values()]
        own_items, own_names = 1 + 2 * len(value) - bool(value), len(value)
    elif isinstance(value, list):
        inner = [counted(item) for item in value]
        own_items, own_names = 1 + len(value) - bool(value), 0
    else:
        return 0, 0, 0
    items = own_items + sum(one[0] for one in inner)
    return (
        items,
        own_names + sum(one[1] for one in inner),
        1 + max((one[2] for one in inner), default=0),
    )


@with_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    value=st.dictionaries(TEXTS, VALUES),
    window=st.integers(1, 20),
    as_ascii=st.booleans(),
    blanks=st.booleans(),
)
def test_a_body_is_counted_as_it_is_read(monkeypatch, value, window, as_ascii, blanks):
    monkeypatch.setattr(json_cost, "WINDOW_BYTES", window)
    raw = json.dumps(value, ensure_ascii=as_ascii, indent=1 if blanks else None).encode(
        "utf-8", "surrogatepass"
    )
    found = measure_structure(raw)
    assert (found.items, found.names, found.deepest_level) == counted(value)
    assert found.escapes == raw.count(b"\\")
    assert found.depth == 0


@given(raw=st.binary(max_size=200) | st.text(alphabet='[]{},:"\\a').map(str.encode))
def test_whatever_comes_is_counted_without_an_error(raw):
    measure_structure(raw)


ITEMS = {
    "lists": b"[],",
    "objects": b"{},",
    "numbers": b"1,",
    "deep lists": b"[" * 60 + b"]" * 60 + b",",
    "names": b'{"a":1},',
    "texts": b'"",',
}


@pytest.mark.parametrize("item", ITEMS.values(), ids=ITEMS)
@pytest.mark.parametrize(
    "place",
    [
        b'{"model":"m","messages":[{"role":"user","content":"x"}],"x":[',
        b'{"model":"m","messages":[',
    ],
)
def test_a_body_of_many_small_things_is_refused_with_the_number(settings, place, item):
    settings.JSON_ITEMS = 1_000
    with pytest.raises(InvalidJson, match="1000"):
        chat_request_body.read_request_body(CHAT, place + item * 1_000 + b"1]}")


def test_what_stands_in_texts_is_not_counted(settings):
    settings.JSON_ITEMS = 100
    text = '[{,:"\\' * 10_000
    body = chat_request_body.read_request_body(
        CHAT, orjson.dumps({"model": "m", "messages": [{"role": "user", "content": text}]})
    )
    assert body["messages"][0]["content"] == text


def test_a_body_of_backslashes_is_refused(settings):
    settings.JSON_ESCAPES, settings.JSON_INLINE_BYTES = 1_000, 0
    with pytest.raises(InvalidJson, match="1000 backslashes"):
        chat_request_body.read_request_body(
            CHAT,
            orjson.dumps({"model": "m", "messages": [{"role": "user", "content": "\\" * 501}]}),
        )


@pytest.mark.parametrize("inline_bytes", [0, 2**20])
def test_a_name_given_twice_is_refused_in_bodies_of_every_size(settings, inline_bytes):
    settings.JSON_INLINE_BYTES = inline_bytes
    with pytest.raises(InvalidJson, match="twice"):
        chat_request_body.read_request_body(
            CHAT, b'{"model":"m","model":"n","messages":[{"role":"user","content":"x"}]}'
        )
    text = 'a":1,"a":2, b\\":3 "c" :4'
    body = {"model": "m", "messages": [{"role": "user", "content": text}], text: {text: text}}
    for raw in (orjson.dumps(body), json.dumps(body, indent=2).encode()):
        assert chat_request_body.read_request_body(CHAT, raw) == body


@pytest.mark.parametrize("inline_bytes", [0, 2**20])
def test_a_body_may_be_as_deep_as_the_setting_says_whatever_its_size(settings, inline_bytes):
    settings.JSON_DEPTH, settings.JSON_INLINE_BYTES = 10, inline_bytes
    start = b'{"model":"m","messages":[{"role":"user","content":"x"}],"x":'
    chat_request_body.read_request_body(CHAT, start + b"[" * 9 + b"]" * 9 + b"}")
    with pytest.raises(InvalidJson, match="10 levels"):
        chat_request_body.read_request_body(CHAT, start + b"[" * 10 + b"]" * 10 + b"}")


# --- lists of documented fields -------------------------------------------------------------------
MESSAGE = {"role": "user", "content": "x"}
TOOL = {"type": "function", "function": {"name": "f"}}


@pytest.mark.parametrize(
    ("endpoint", "field", "item", "limit"),
    [
        (CHAT, "messages", MESSAGE, "MESSAGES_LIMIT"),
        (CHAT, "tools", TOOL, "TOOLS_LIMIT"),
        (CHAT, "functions", TOOL["function"], "TOOLS_LIMIT"),
        (COMPLETIONS, "prompt", "x", "MESSAGES_LIMIT"),
        (COMPLETIONS, "prompt", [1], "MESSAGES_LIMIT"),
        (EMBEDDINGS, "input", "x", "INPUTS_LIMIT"),
        (EMBEDDINGS, "input", [1], "INPUTS_LIMIT"),
    ],
)
def test_a_list_has_at_most_so_many_items(settings, endpoint, field, item, limit):
    setattr(settings, limit, 3)
    least = {
        CHAT: {"messages": [MESSAGE]},
        COMPLETIONS: {"prompt": "x"},
        EMBEDDINGS: {"input": "x"},
    }[endpoint]
    body = {"model": "m"} | least
    chat_request_body.read_request_body(endpoint, orjson.dumps(body | {field: [item] * 3}))
    with pytest.raises(InvalidRequest, match="at most 3") as caught:
        chat_request_body.read_request_body(endpoint, orjson.dumps(body | {field: [item] * 4}))
    assert caught.value.param == field


@pytest.mark.parametrize("shape", [schema.ResponseBody, schema.TokenCountBody])
def test_a_response_has_at_most_so_many_items_and_tools(settings, shape):
    settings.MESSAGES_LIMIT = settings.TOOLS_LIMIT = 3
    lists = {"input": MESSAGE, "tools": {"type": "function", "name": "f"}}
    body = {"model": "m", "input": "x"}
    for field, item in lists.items():
        schema.read_response_body(orjson.dumps(body | {field: [item] * 3}), shape)
        with pytest.raises(InvalidRequest, match="at most 3") as caught:
            schema.read_response_body(orjson.dumps(body | {field: [item] * 4}), shape)
        assert caught.value.param == field


def test_a_prompt_of_token_numbers_is_one_prompt_however_long(settings):
    settings.MESSAGES_LIMIT = settings.INPUTS_LIMIT = 3
    chat_request_body.read_request_body(
        COMPLETIONS, orjson.dumps({"model": "m", "prompt": [1] * 5_000})
    )
    chat_request_body.read_request_body(
        EMBEDDINGS, orjson.dumps({"model": "m", "input": [1] * 5_000})
    )
