"""Moonshot's usage and fields of its own."""

from api.tests.endpoints.moonshot.moonshot_answers import (
    COUNTS,
    last_chunk,
    read_answer,
    request_chat,
)
from proxysite.testing import rows, speech
from proxysite.testing.upstream import DONE, send_stream


async def test_usage_in_the_last_choice_is_the_upstreams_figure(gateway, upstream, alice):
    upstream.queue_scripts(
        send_stream(
            *speech.content_chunks("Hi"), last_chunk(counts=COUNTS | {"cached_tokens": 4}), DONE
        )
    )
    answer = await request_chat(gateway, alice.key, True)
    assert read_answer(answer) == ("Hi", [], "stop", 15)
    assert all("usage" not in choice for event in answer.events for choice in event["choices"])
    row = await rows.read_only_usage_record()
    assert (row.prompt_tokens, row.completion_tokens, row.cached_tokens, row.estimated) == (
        10,
        5,
        4,
        False,
    )


async def test_partial_mode_and_moonshots_own_fields_go_through(gateway, upstream, alice):
    messages = [
        {"role": "user", "content": "Go on"},
        {"role": "assistant", "content": "{", "partial": True, "name": "x"},
    ]
    fields = {
        "messages": messages,
        "max_completion_tokens": 9,
        "thinking": {"type": "enabled", "keep": "all"},
    }
    assert (await gateway.request_chat(alice.key, **fields)).status == 200
    assert upstream.requests[0].json == fields | {"model": "upstream-model"}


async def test_images_at_web_addresses_are_refused_before_anything_is_sent(
    gateway, upstream, alice
):
    def parts(kind, given):
        return [{"role": "user", "content": [{"type": kind, kind: given}]}]

    for kind, given in (
        ("image_url", {"url": "https://example.org/a.png"}),
        ("image_url", "HTTP://example.org/a.png"),
        ("video_url", {"url": "http://example.org/a.mp4"}),
    ):
        answer = await gateway.request_chat(alice.key, messages=parts(kind, given))
        assert (answer.status, answer.error["param"]) == (400, "messages")
    assert upstream.requests == []
    for url in ("data:image/png;base64,AAAA", "ms://file-1"):
        assert (
            await gateway.request_chat(alice.key, messages=parts("image_url", {"url": url}))
        ).status == 200
