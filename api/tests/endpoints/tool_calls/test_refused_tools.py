"""Tools are refused where nobody can call them."""

import pytest

from api.tests.endpoints.tool_calls.calls_in_words import CLOCK, TOOLS


@pytest.mark.settings(TOOL_SUPPORT=False)
async def test_where_calling_in_words_is_switched_off_tools_are_refused(gateway, upstream, alice):
    answer = await gateway.request_chat(alice.key, tools=TOOLS)
    assert answer.status == 400
    assert answer.error["param"] == "tools"
    assert not upstream.requests


@pytest.mark.settings(TOOL_SUPPORT=False)
async def test_without_tool_support_functions_are_refused_like_tools(
    gateway, upstream, alice, provider
):
    await gateway.reload_rows()
    for fields in ({"tools": [CLOCK]}, {"functions": [CLOCK["function"]]}):
        assert (await gateway.request_chat(alice.key, **fields)).error["param"] == "tools"
    assert upstream.requests == []
