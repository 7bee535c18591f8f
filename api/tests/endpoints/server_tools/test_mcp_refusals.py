"""MCP servers that a request may not name, and requests where the gateway runs no tools."""

import pytest

from api.tests.endpoints.server_tools.conftest import create_server
from providers.database.database_threads import run_in_thread
from proxysite.testing.tool_scripts import answer_with_calls, make_call

TOOL = {"type": "mcp", "server_label": "math", "require_approval": "never"}
with_mcp = pytest.mark.settings(SERVER_TOOLS=["mcp"])


async def refuse(gateway, person, *tools, **fields):
    """Return the error of a response with these tools."""
    body = {"model": "m", "input": "2+3?", "tools": list(tools)} | fields
    answer = await gateway.send_request("POST", "/v1/responses", person.key, json=body)
    assert answer.status == 400, answer.body
    return answer.error


@with_mcp
@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"server_label": "other"}, "server_label", "mcp_server_not_allowed"),
        ({"server_url": "http://127.0.0.1:1/mcp"}, "server_url", "mcp_server_not_allowed"),
        (
            {"server_url": "http://169.254.169.254/latest"},
            "server_url",
            "mcp_server_not_allowed",
        ),
        ({"connector_id": "connector_gmail"}, "connector_id", "unsupported_parameter"),
        ({"authorization": "secret"}, "authorization", "mcp_server_not_allowed"),
        ({"headers": {"X-Key": "secret"}}, "headers", "mcp_server_not_allowed"),
        ({"headers": {"Host": "other"}}, "headers", "invalid_value"),
        ({"headers": {"X-Key": "a\r\nHost: b"}}, "headers", "invalid_value"),
        ({"server_label": "no spaces"}, "server_label", "invalid_value"),
        ({"require_approval": "sometimes"}, "require_approval", "invalid_value"),
    ],
)
async def test_a_server_that_is_not_on_the_list_is_refused(
    gateway, alice, math, upstream, fields, param, code
):
    error = await refuse(gateway, alice, TOOL | fields)
    assert (error["param"], error["code"]) == (f"tools[0].{param}", code)
    assert not upstream.requests


@with_mcp
async def test_a_server_for_some_users_is_unknown_to_others(
    gateway, alice, mallory, math, client, upstream
):
    def limit():
        math.for_everybody = False
        math.save()
        math.users.add(alice.user)

    await run_in_thread(limit)
    error = await refuse(gateway, mallory, TOOL)
    assert error["code"] == "mcp_server_not_allowed"
    response = await client.responses.create(model="m", input="hi", tools=[TOOL])
    assert response.output[0].type == "mcp_list_tools"
    await run_in_thread(alice.user.delete)
    error = await refuse(gateway, mallory, TOOL)
    assert error["code"] == "mcp_server_not_allowed"


@with_mcp
async def test_a_server_may_be_named_by_its_url_and_get_the_callers_credential(
    gateway, client, upstream, math, mcp_upstream
):
    math.takes_caller_headers = True
    await run_in_thread(math.save)
    upstream.queue_scripts(
        answer_with_calls(make_call("mine__add", {"a": 1, "b": 1})), answer_with_calls(text="2")
    )
    tool = TOOL | {
        "server_label": "mine",
        "server_url": f"{math.url}/",
        "authorization": "callers-secret",
    }
    response = await client.responses.create(model="m", input="1+1?", tools=[tool])
    assert response.output[1].server_label == "mine"
    assert "callers-secret" not in response.model_dump_json()
    headers = mcp_upstream.requests[-1].headers
    assert (headers["authorization"], headers["x-team"]) == ("Bearer callers-secret", "red")
    stored = await client.responses.retrieve(response.id)
    assert "callers-secret" not in stored.model_dump_json()


@with_mcp
@pytest.mark.parametrize("label", ["guarded", "metadata"])
async def test_a_private_address_is_not_called_without_the_operators_word(
    gateway, client, upstream, mcp_upstream, label
):
    urls = {
        "guarded": f"http://127.0.0.1:{mcp_upstream.port}/mcp",
        "metadata": "http://169.254.169.254/mcp",
    }
    await run_in_thread(create_server, urls[label], label, allow_private=False)
    response = await client.responses.create(
        model="m", input="hi", tools=[TOOL | {"server_label": label}]
    )
    listed, message = response.output
    assert listed.tools == []
    assert "private" in listed.error
    assert message.type == "message"
    assert not mcp_upstream.requests


async def test_without_the_operators_word_such_tools_are_left_out(
    gateway, client, upstream, math, mcp_script, alice
):
    response = await client.responses.create(model="m", input="hi", tools=[TOOL])
    assert [item.type for item in response.output] == ["message"]
    assert "tools" not in upstream.requests[0].json
    assert not mcp_script.methods
    choice = {"type": "mcp", "server_label": "math"}
    error = await refuse(gateway, alice, TOOL, tool_choice=choice)
    assert error["code"] == "unsupported_parameter"
    error = await refuse(gateway, alice, TOOL, tool_choice="required")
    assert error["code"] == "unsupported_parameter"
