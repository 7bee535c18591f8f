"""Input items and fields that coding agents send beside OpenAI's usual ones (F1, F2, F14, F26)."""

from typing import Any, get_args, get_type_hints

import orjson
import pytest
from openai.types.responses import ResponseInputItemParam

from api.responses.output.objects import build_response_head
from api.responses.request import input_items, schema
from api.responses.request.to_chat import build_chat_body, build_input_messages
from api.schemas.item_inputs import ITEM_SHAPES
from providers.exceptions import CallerError

NOTE = {"turn_id": "t"}
QUESTION = {"type": "message", "role": "user", "content": "hi"}
PASSED_OVER = [
    {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search"}},
    {"type": "compaction", "encrypted_content": "x"},
    {"type": "compaction_summary", "encrypted_content": "x"},
    {"type": "additional_tools", "role": "developer", "tools": [{"type": "local_shell"}]},
    {"type": "mcp_list_tools", "id": "mcpl_1", "server_label": "s", "tools": []},
    {"type": "mcp_call", "id": "mcp_1", "server_label": "s", "name": "f", "arguments": "{}"},
    {"type": "mcp_approval_request", "id": "1", "server_label": "s", "name": "f"},
    {"type": "mcp_approval_response", "approval_request_id": "1", "approve": True},
    {"type": "local_shell_call", "call_id": "l1", "status": "completed", "action": {}},
    {"type": "local_shell_call_output", "id": "l1", "output": "x"},
    {"type": "shell_call", "call_id": "s1", "action": {}},
    {"type": "shell_call_output", "call_id": "s1", "output": []},
    {"type": "apply_patch_call", "call_id": "a1", "operation": {}},
    {"type": "apply_patch_call_output", "call_id": "a1", "status": "completed"},
    {"type": "computer_call", "call_id": "c1", "action": {}},
    {"type": "computer_call_output", "call_id": "c1", "output": {}},
    {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": "x"},
    {"type": "code_interpreter_call", "id": "ci_1", "code": "1"},
    {"type": "file_search_call", "id": "fs_1", "queries": []},
    {"type": "tool_search_call", "call_id": "t1", "execution": "client", "arguments": {}},
    {"type": "tool_search_output", "call_id": "t1", "execution": "client", "tools": []},
    {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "sealed elsewhere"},
    {"type": "agent_message", "author": "/root", "content": [{"type": "encrypted_content"}]},
]


def read(**fields: Any) -> dict[str, Any]:
    body = schema.read_response_body(orjson.dumps({"model": "m", "input": "hi"} | fields))
    return input_items.drop_hosted_outputs(body)


def chat_body(**fields: Any) -> dict[str, Any]:
    body = read(**fields)
    return build_chat_body(body, build_input_messages(body))


# --- items ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("item", PASSED_OVER, ids=lambda item: str(item["type"]))
def test_an_item_that_no_chat_upstream_can_use_is_passed_over(item: dict[str, Any]) -> None:
    assert chat_body(input=[item, QUESTION])["messages"] == [{"role": "user", "content": "hi"}]


def test_every_documented_type_of_item_is_accepted() -> None:
    documented = set()
    for shape in get_args(ResponseInputItemParam):
        hint = get_type_hints(shape, include_extras=False).get("type")
        documented |= {name for name in get_args(hint) if isinstance(name, str)}
    assert len(documented) > 25
    assert documented - {"item_reference"} <= ITEM_SHAPES.keys()


def test_an_unknown_type_of_item_is_refused_by_its_place() -> None:
    with pytest.raises(CallerError) as caught:
        read(input=[QUESTION, {"type": "functoin_call"}])
    assert (caught.value.shown_status, caught.value.param) == (400, "input[1].type")


def test_custom_calls_and_their_outputs_are_calls_and_outputs() -> None:
    call = {"type": "custom_tool_call", "id": "ctc_1", "call_id": "c1", "name": "apply_patch"}
    items = [
        QUESTION,
        {**call, "status": "completed", "input": 'a "b"\n'},
        {"type": "custom_tool_call_output", "call_id": "c1", "output": "Done."},
    ]
    _, assistant, tool = chat_body(input=items)["messages"]
    [made] = assistant["tool_calls"]
    assert (made["id"], made["type"], made["function"]["name"]) == ("c1", "function", "apply_patch")
    assert orjson.loads(made["function"]["arguments"]) == {"input": 'a "b"\n'}
    assert tool == {"role": "tool", "tool_call_id": "c1", "content": "Done."}


def test_the_call_of_a_namespaced_function_has_the_name_that_is_offered() -> None:
    plain = {"type": "function", "name": "n__f", "parameters": {}}
    spaced = {"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "f"}]}
    call = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
    items = [
        QUESTION,
        {**call, "namespace": "n"},
        {"type": "function_call_output", "call_id": "c1", "output": "1"},
    ]
    built = chat_body(input=items, tools=[plain, spaced])
    names = [tool["function"]["name"] for tool in built["tools"]]
    assert names == ["n__f", "n__f_2"]
    assert built["messages"][1]["tool_calls"][0]["function"]["name"] == "n__f_2"
    alone = chat_body(input=items)
    assert alone["messages"][1]["tool_calls"][0]["function"]["name"] == "n__f"


def test_the_output_of_a_call_that_is_passed_over_is_passed_over_too() -> None:
    output = {"type": "function_call_output", "call_id": "l1", "output": "files"}
    call = {"type": "local_shell_call", "call_id": "l1", "status": "completed", "action": {}}
    built = chat_body(input=[QUESTION, call, output, QUESTION])
    assert [message["role"] for message in built["messages"]] == ["user", "user"]


def test_another_agents_message_is_told_under_its_name() -> None:
    parts = [{"type": "input_text", "text": "All tests pass."}]
    item = {"type": "agent_message", "author": "/root/tester", "recipient": "/root"}
    built = chat_body(input=[QUESTION, item | {"content": parts}])
    assert built["messages"][1] == {
        "role": "user",
        "content": "Message from /root/tester:\nAll tests pass.",
    }


@pytest.mark.parametrize("length", [201, 5_000])
def test_call_ids_of_any_length_come_back(length: int) -> None:
    """F14: Gemini's thinking is in the id of the call."""
    call_id = "call_" + "x" * length
    items = [
        {"type": "function_call", "call_id": call_id, "name": "f" * 300, "arguments": "{}"},
        {"type": "function_call_output", "call_id": call_id, "output": "1"},
    ]
    assistant, tool = chat_body(input=items)["messages"]
    assert (assistant["tool_calls"][0]["id"], tool["tool_call_id"]) == (call_id, call_id)


# --- fields ---------------------------------------------------------------------------------------
def test_fields_that_only_responses_have_do_not_go_up() -> None:
    """F2: Codex sends `client_metadata` and a note in each item."""
    fields = {
        "client_metadata": NOTE,
        "include": ["reasoning.encrypted_content"],
        "truncation": "auto",
        "text": {"verbosity": "low"},
        "max_tool_calls": 3,
        "prompt_cache_options": {"ttl": "30m"},
        "stream_options": {"include_obfuscation": False},
        "stream": True,
        "some_later_field": 1,
    }
    items = [
        {**QUESTION, "id": "msg_1", "internal_chat_message_metadata_passthrough": NOTE},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}", "note": NOTE},
        {"type": "function_call_output", "call_id": "c", "output": "1", "note": NOTE},
        {
            "role": "user",
            "content": [{"type": "input_text", "text": "x", "prompt_cache_breakpoint": NOTE}],
        },
    ]
    assert chat_body(input=items, **fields) == {
        "model": "m",
        "stream": True,
        "verbosity": "low",
        "messages": [
            {"role": "user", "content": "hi"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
                ],
            },
            {"role": "tool", "tool_call_id": "c", "content": "1"},
            {"role": "user", "content": "x"},
        ],
    }


@pytest.mark.parametrize(
    ("field", "value"),
    [("seed", 5), ("stop", ["x"]), ("top_k", 40), ("chat_template_kwargs", {"a": True})],
)
def test_documented_chat_fields_go_up_as_they_came(field: str, value: Any) -> None:
    assert chat_body(**{field: value})[field] == value


def test_no_summary_may_be_asked_for_by_that_word() -> None:
    """F26."""
    body = read(reasoning={"effort": "low", "summary": "none"})
    head = build_response_head(body, "0" * 32, 0, stored=False)
    assert head.wants_summary is False
    assert head.settings["reasoning"] == {"effort": "low", "summary": None}


def test_instructions_may_be_a_list_of_items() -> None:
    """F26."""
    parts = [{"type": "input_text", "text": "Be brief."}]
    instructions = [
        {"role": "developer", "content": parts},
        {"role": "user", "content": "And kind."},
    ]
    assert chat_body(instructions=instructions)["messages"] == [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "And kind."},
        {"role": "user", "content": "hi"},
    ]
    with pytest.raises(CallerError) as caught:
        read(instructions=[{"role": "developer"}])
    assert caught.value.param == "instructions[0].content"
