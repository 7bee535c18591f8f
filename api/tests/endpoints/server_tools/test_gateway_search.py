"""The web search that the gateway runs for a model that cannot search: responses and chats."""

from urllib.parse import parse_qs, urlsplit

import pytest

from api.tests.endpoints.server_tools.conftest import RESULTS, read_events
from proxysite.testing import rows
from proxysite.testing.tool_scripts import answer_with_calls, make_call

pytestmark = [
    pytest.mark.settings(SERVER_TOOLS=["web_search"]),
    pytest.mark.usefixtures("search_backend"),
]
SEARCH = make_call("web_search", {"query": "Graz river"})
TEXT = "Graz [1] lies on the [Mur](https://rivers.example.com/mur) [9]."
HELLO = [{"role": "user", "content": "Which river?"}]
GRAZ, MUR = (result["url"] for result in RESULTS)


def queue_search(upstream, text=TEXT):
    upstream.queue_scripts(
        answer_with_calls(SEARCH, text="Let me look."), answer_with_calls(text=text)
    )


async def test_a_streamed_response_searches_and_cites(client, upstream, search_backend):
    queue_search(upstream)
    events = await read_events(client, model="m", input="?", tools=[{"type": "web_search"}])
    kinds = [event.type for event in events if "web_search" in event.type]
    prefix = "response.web_search_call"
    assert kinds == [f"{prefix}.in_progress", f"{prefix}.searching", f"{prefix}.completed"]
    spoken, search, message = events[-1].response.output
    assert spoken.content[0].text == "Let me look."
    assert (search.type, search.status, search.action.query) == (
        "web_search_call",
        "completed",
        "Graz river",
    )
    assert search.action.sources is None
    assert "gateway" not in search.model_dump()
    first, second = message.content[0].annotations
    assert (first.url, first.title, TEXT[first.start_index : first.end_index]) == (
        GRAZ,
        "Graz",
        "[1]",
    )
    assert second.url == MUR
    assert TEXT[second.start_index : second.end_index] == f"[Mur]({MUR})"
    added = [event for event in events if event.type == "response.output_text.annotation.added"]
    assert [event.annotation.url for event in added] == [GRAZ, MUR]
    query = parse_qs(urlsplit(search_backend.requests[0].path).query)
    assert query["q"] == ["Graz river"]
    assert "[2] Mur\nhttps://rivers" in upstream.requests[1].json["messages"][-1]["content"]


async def test_sources_and_results_come_where_the_request_includes_them(client, upstream):
    queue_search(upstream)
    response = await client.responses.create(
        model="m",
        input="?",
        tools=[{"type": "web_search_preview", "search_context_size": "low"}],
        include=["web_search_call.action.sources", "web_search_call.results"],
    )
    search = response.output[1]
    assert [source.url for source in search.action.sources] == [GRAZ, MUR]
    assert search.model_dump()["results"][1]["snippet"] == "A river."


async def test_a_search_may_be_limited_to_domains(client, upstream, search_backend):
    queue_search(upstream)
    tool = {"type": "web_search", "filters": {"allowed_domains": ["example.com"]}}
    await client.responses.create(model="m", input="?", tools=[tool], tool_choice=tool | {})
    result = upstream.requests[1].json["messages"][-1]["content"]
    assert "rivers.example.com" in result
    assert "en.example.org" not in result
    assert "site%3Aexample.com" in search_backend.requests[0].path
    choice = {"type": "function", "function": {"name": "web_search"}}
    assert [request.json.get("tool_choice") for request in upstream.requests] == [choice, None]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_chat_gets_the_text_of_all_rounds_with_annotations(
    gateway, client, upstream, stream
):
    queue_search(upstream)
    answer = await client.chat.completions.create(
        model="m", messages=HELLO, web_search_options={}, stream=stream
    )
    if stream:
        chunks = [chunk async for chunk in answer]
        deltas = [choice.delta for chunk in chunks for choice in chunk.choices]
        text = "".join(delta.content or "" for delta in deltas)
        annotations = [
            entry for delta in deltas for entry in getattr(delta, "annotations", None) or ()
        ]
        finish = [choice.finish_reason for chunk in chunks for choice in chunk.choices]
        assert [reason for reason in finish if reason] == ["stop"]
        assert [delta.role for delta in deltas if delta.role] == ["assistant"]
        assert not any(delta.tool_calls for delta in deltas)
    else:
        (choice,) = answer.choices
        text = choice.message.content
        annotations = [entry.model_dump() for entry in choice.message.annotations]
        assert (choice.finish_reason, choice.message.tool_calls) == ("stop", None)
        assert answer.usage.prompt_tokens == 18
        assert "answer_pieces" not in answer.model_dump()
    assert text == f"Let me look.{TEXT}"
    cited = [entry["url_citation"] for entry in annotations]
    assert [(entry["url"], text[entry["start_index"] : entry["end_index"]]) for entry in cited] == [
        (GRAZ, "[1]"),
        (MUR, f"[Mur]({MUR})"),
    ]
    first, second = (request.json for request in upstream.requests)
    assert "web_search_options" not in first
    assert second["messages"][-2]["content"] == "Let me look."
    record = await rows.read_only_usage_record()
    assert len(record.attempts) == 2


async def test_a_backend_that_fails_is_said_to_the_model_and_in_the_item(
    client, upstream, search_backend, settings
):
    settings.SEARCH_URL = "http://127.0.0.1:9"
    queue_search(upstream, "I could not search.")
    response = await client.responses.create(model="m", input="?", tools=[{"type": "web_search"}])
    assert response.status == "completed"
    assert response.output[1].status == "failed"
    assert "The search failed" in upstream.requests[1].json["messages"][-1]["content"]
