"""The search in one's own files: what it finds and cites, and whose files it never opens."""

import pytest

from api.tests.endpoints.server_tools.conftest import read_events
from proxysite.testing.tool_scripts import answer_with_calls, make_call

pytestmark = pytest.mark.settings(SERVER_TOOLS=["file_search"])
SEARCH = make_call("file_search", {"query": "colour of the Mur"})
RIVERS = "The Mur flows through Graz. The colour of the Mur is green.\n" * 3
PLANETS = "Mars is a planet. Its colour is red, says the astronomer.\n" * 3


async def upload(client, name, text):
    file = await client.files.create(file=(name, text.encode()), purpose="user_data")
    return file.id


@pytest.fixture
async def rivers(client):
    return await upload(client, "rivers.txt", RIVERS)


async def test_a_streamed_response_finds_passages_and_cites_their_file(client, upstream, rivers):
    planets = await upload(client, "planets.txt", PLANETS)
    upstream.queue_scripts(answer_with_calls(SEARCH), answer_with_calls(text="It is green [1]."))
    events = await read_events(
        client,
        model="m",
        input="?",
        tools=[{"type": "file_search", "vector_store_ids": [rivers, planets]}],
        include=["file_search_call.results"],
    )
    kinds = [event.type for event in events if "file_search" in event.type]
    prefix = "response.file_search_call"
    assert kinds == [f"{prefix}.in_progress", f"{prefix}.searching", f"{prefix}.completed"]
    search, message = events[-1].response.output
    assert search.queries == ["colour of the Mur"]
    best = search.results[0]
    assert (best.file_id, best.filename, best.score) == (rivers, "rivers.txt", 1.0)
    assert "green" in best.text
    (citation,) = message.content[0].annotations
    assert (citation.type, citation.file_id, citation.filename, citation.index) == (
        "file_citation",
        rivers,
        "rivers.txt",
        15,
    )
    told = upstream.requests[1].json["messages"][-1]["content"]
    assert told.startswith("[1] rivers.txt\nThe Mur")


async def test_all_means_every_indexed_file(client, upstream, rivers):
    for ids in ([rivers], ["all"]):
        upstream.queue_scripts(answer_with_calls(SEARCH), answer_with_calls(text="Green."))
        tool = {"type": "file_search", "vector_store_ids": ids, "max_num_results": 1}
        response = await client.responses.create(model="m", input="?", tools=[tool])
        assert response.output[0].results is None
        assert "green" in upstream.requests[-1].json["messages"][-1]["content"]


@pytest.mark.parametrize("ids", [["theirs"], ["vs_123"], []])
async def test_files_of_others_and_unknown_ids_are_refused(
    gateway, client, mallory, rivers, ids, upstream
):
    ids = [rivers if name == "theirs" else name for name in ids]
    tool = {"type": "file_search", "vector_store_ids": ids}
    body = {"model": "m", "input": "?", "tools": [tool]}
    answer = await gateway.send_request("POST", "/v1/responses", mallory.key, json=body)
    assert answer.status == 400
    assert answer.error["param"] == "tools[0].vector_store_ids"
    assert not upstream.requests
