"""What only Kimi's older interface does: answers that go on, images and files."""

import base64
from typing import Any

import pytest

from providers.adapters import kimi_rest
from providers.exceptions import (
    AuthRejected,
    BadResponse,
    ModelMissing,
    Rejected,
    UpstreamTimeout,
)
from providers.tests.kimi_asking import Asking, text_of
from providers.tests.kimi_site import (
    ALL_DONE,
    cmpl,
    rest_says,
)
from proxysite.testing import wait_until_true
from proxysite.testing.upstream import send_reply, send_stream


# --- cut for its length ---------------------------------------------------------------------------
def cut_off(*texts: str, segment: str = "seg1") -> Any:
    return send_stream(
        {"event": "req", "id": segment}, *map(cmpl, texts), {"event": "length"}, ALL_DONE, "[DONE]"
    )


async def test_an_answer_that_was_cut_goes_on_and_the_caller_sees_no_seam(rest: Asking) -> None:
    rest.will(cut_off("One, "), cut_off("two, ", segment="seg2"), rest_says("three."))
    chunks = [chunk async for batch in rest.batches() for chunk in batch]
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert "".join(delta.get("content") or "" for delta in deltas) == "One, two, three."
    assert ["role" in delta for delta in deltas].count(True) == 1
    assert [reason for chunk in chunks if (reason := chunk["choices"][0]["finish_reason"])] == [
        "stop"
    ]
    _, second, third = rest.site.questions
    assert second == {
        "path": "api/chat/chat1/completion/stream",
        "segment_id": "seg1",
        "action": "continue",
        "messages": [{"role": "user", "content": " "}],
        "kimiplus_id": "kimi",
        "extend": {"sidebar": True},
    }
    assert third["segment_id"] == "seg2"


@pytest.mark.parametrize(
    ("options", "asked"), [({}, 6), ({"continuations": 1}, 2), ({"continuations": 0}, 1)]
)
async def test_it_goes_on_so_often_and_then_says_that_it_was_cut(
    rest: Asking, options: dict[str, Any], asked: int
) -> None:
    rest.will(*(cut_off("more ") for _ in range(9)))
    found = await rest.answer(model={"options": options})
    assert found["finish_reason"] == "length"
    assert found["content"] == "more " * asked
    assert len(rest.site.questions) == asked


async def test_a_cut_at_the_end_of_the_body_goes_on_too(rest: Asking) -> None:
    rest.will(
        send_stream({"event": "req", "id": "seg1"}, cmpl("One, "), {"event": "length"}),
        rest_says("two."),
    )
    assert (await rest.answer())["content"] == "One, two."


async def test_an_error_after_the_cut_is_no_reason_to_go_on(rest: Asking) -> None:
    length = {"event": "length"}
    rest.will(
        send_stream(
            {"event": "req", "id": "seg1"},
            cmpl("One"),
            length,
            {"error_type": "auth.token.invalid"},
        )
    )
    with pytest.raises(AuthRejected):
        await rest.answer()
    assert len(rest.site.questions) == 1


@pytest.mark.parametrize("ending", [[], [ALL_DONE], [ALL_DONE, "[DONE]"], ["[DONE]"]], ids=str)
async def test_each_way_to_end_is_one(rest: Asking, ending: list[Any]) -> None:
    rest.will(send_stream(cmpl("Yes."), *ending))
    found = await rest.answer()
    assert (found["content"], found["finish_reason"]) == ("Yes.", "stop")


# --- images and files -----------------------------------------------------------------------------
PIXEL = b"\x89PNG\r\n\x1a\n\x00pixel"


def data_url(content_type: str, data: bytes) -> str:
    return f"data:{content_type};base64,{base64.b64encode(data).decode()}"


def with_parts(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "text", "text": "What is this?"}, *parts]}


IMAGE = {"type": "image_url", "image_url": {"url": data_url("image/png", PIXEL), "detail": "low"}}
FILE = {
    "type": "file",
    "file": {"filename": "a /../b.txt", "file_data": data_url("text/plain", b"words")},
}


async def test_an_image_is_uploaded_and_referred_to(rest: Asking) -> None:
    await rest.answer(with_parts(IMAGE))
    assert rest.site.files == [
        ("api/pre-sign-url", {"action": "image", "name": "image.png"}),
        ("bucket/image.png?X-Sign=a%2Fb", ("image/png", PIXEL)),
        ("api/file", {"type": "image", "name": "image.png", "file_id": "f1"}),
    ]
    [asked] = rest.site.questions
    assert asked["refs"] == ["file1"]
    assert text_of(asked) == "What is this?"


async def test_a_file_is_uploaded_and_asked_about_when_it_was_read(
    rest: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kimi_rest, "PARSE_PAUSE_SECONDS", 0)
    rest.site.unread = 2
    await rest.answer(with_parts(FILE), model={"files": True})
    presigned, (path, put), registered, *looks = rest.site.files
    assert presigned == ("api/pre-sign-url", {"action": "file", "name": "a _.._b.txt"})
    assert path.startswith("bucket/")
    assert put == ("text/plain", b"words")
    assert registered[1] == {
        "type": "file",
        "name": "a _.._b.txt",
        "file_id": "",
        "object_name": "objects/1",
        "chat_id": "chat1",
    }
    assert looks == [("api/file/parse_process", {"ids": ["file1"]})] * 3
    assert rest.site.questions[0]["refs"] == ["file1"]


@pytest.mark.parametrize(
    ("said", "expected"),
    [(b"data: " + b"x" * 9_000_000, BadResponse), (b'data: {"status": "failed"}\n\n', Rejected)],
    ids=["too long", "failed"],
)
async def test_a_file_that_cannot_be_read_is_the_end_of_it(
    rest: Asking, said: bytes, expected: type[Exception]
) -> None:
    site = rest.site

    async def broken(exchange: Any) -> None:
        if exchange.request.path.endswith("parse_process"):
            await send_stream(said)(exchange)
        else:
            await site(exchange)

    rest.upstream.set_default_script(broken)
    with pytest.raises(expected):
        await rest.answer(with_parts(FILE), model={"files": True})
    assert site.questions == []


@pytest.mark.parametrize("chat_id", ["", "../user", "a/b", "?all"])
async def test_an_id_that_is_none_of_the_sites_is_not_deleted(rest: Asking, chat_id: str) -> None:
    with pytest.raises(ModelMissing):
        await rest.adapter.delete_chat(rest.credential, chat_id)
    assert rest.upstream.requests == []


async def test_a_file_that_is_never_read_is_given_up(
    rest: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kimi_rest, "PARSE_PAUSE_SECONDS", 0)
    rest.site.unread = 1_000
    with pytest.raises(UpstreamTimeout):
        await rest.answer(with_parts(FILE), model={"files": True})
    assert rest.site.questions == []
    await wait_until_true(lambda: rest.site.deleted)


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,%%%"}},
        {"type": "image_url"},
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
    ],
    ids=str,
)
async def test_what_cannot_be_uploaded_is_refused_before_anything_is_asked(
    asking: Asking, part: Any
) -> None:
    with pytest.raises(Rejected) as raised:
        await asking.answer(with_parts(part))
    assert raised.value.param == "messages"
    assert (asking.site.questions, asking.site.created) == ([], [])


async def test_the_present_interface_takes_text_only(web: Asking) -> None:
    with pytest.raises(Rejected) as raised:
        await web.answer(with_parts(IMAGE))
    assert raised.value.param == "messages"


@pytest.mark.parametrize(
    "url",
    [
        None,
        "",
        "file:///etc/passwd",
        "http://",
        "https://x\r\nHost: y/",
        "/bucket",
        5,
        "https://[::1",
        "https://x:99999/",
    ],
)
async def test_an_address_that_is_none_is_not_uploaded_to(rest: Asking, url: Any) -> None:
    site = rest.site

    async def evil(exchange: Any) -> None:
        if exchange.request.path.endswith("pre-sign-url"):
            await send_reply({"url": url, "file_id": "f1"})(exchange)
        else:
            await site(exchange)

    rest.upstream.set_default_script(evil)
    with pytest.raises(BadResponse):
        await rest.answer(with_parts(IMAGE))
