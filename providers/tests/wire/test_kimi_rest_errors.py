"""Errors of Kimi's older interface in the middle of an answer, and between its parts."""

from typing import Any

import pytest

from providers.exceptions import AuthRejected, RateLimited, Rejected, ServerFailed, UpstreamError
from providers.tests.kimi_asking import Asking
from providers.tests.kimi_site import cmpl
from proxysite.testing.upstream import CUT, send_reply, send_stream


def say_error(error_type: str, message: str = "No.") -> dict[str, Any]:
    return {"event": "error", "error": {"error_type": error_type, "message": message}}


def cut_for_length(text: str) -> Any:
    return send_stream({"event": "req", "id": "seg1"}, cmpl(text), {"event": "length"}, "[DONE]")


@pytest.mark.parametrize("start", [[], [cmpl("Half of")]], ids=["at once", "in the middle"])
@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (say_error("overloaded", "Too many people are here."), ServerFailed),
        (say_error("chat.internal_failure"), ServerFailed),
        (say_error("engine_overloaded_error"), ServerFailed),
        (say_error("", "Something went wrong."), ServerFailed),
        (say_error("chat.user_stream_pushing"), RateLimited),
    ],
    ids=["overloaded", "internal", "named", "words", "pushing"],
)
async def test_an_error_is_an_error_and_no_refused_subject(
    rest: Asking, start: list[Any], event: dict[str, Any], expected: type[UpstreamError]
) -> None:
    rest.will(send_stream(*start, event))
    with pytest.raises(expected):
        await rest.answer()


@pytest.mark.parametrize(
    "event",
    [
        {"event": "error"},
        say_error("content.unsafe"),
        say_error("chat.blocked", "This topic is sensitive."),
        say_error("", "内容不合规"),
    ],
    ids=["wordless", "code", "message", "Chinese"],
)
async def test_a_refused_subject_is_told_as_content_filter(
    rest: Asking, event: dict[str, Any]
) -> None:
    rest.will(send_stream(cmpl("Well, "), event), send_stream(event))
    found = await rest.answer()
    assert (found["content"], found["finish_reason"]) == ("Well, ", "content_filter")
    with pytest.raises(Rejected) as raised:
        await rest.answer()
    assert raised.value.shown_code == "content_filter"


@pytest.mark.parametrize(
    "failure",
    [
        send_reply({"error_type": "chat.bad_segment", "message": "No such segment."}, 400),
        send_reply({"error_type": "auth.token.invalid", "message": "No."}, 401),
        send_reply(b"", 503),
        send_stream(say_error("overloaded")),
        send_stream(CUT),
    ],
    ids=["400", "401", "503", "event", "cut"],
)
async def test_a_failed_continuation_keeps_what_was_said(rest: Asking, failure: Any) -> None:
    rest.will(cut_for_length("One, "), failure)
    found = await rest.answer()
    assert (found["content"], found["finish_reason"]) == ("One, ", "length")
    assert rest.attempt.reason.startswith("The answer was not continued: ")


async def test_a_continuation_that_breaks_off_keeps_its_text_too(rest: Asking) -> None:
    rest.will(cut_for_length("One, "), send_stream(cmpl("two"), say_error("overloaded")))
    found = await rest.answer()
    assert (found["content"], found["finish_reason"]) == ("One, two", "length")


async def test_a_refused_chat_is_about_the_account(rest: Asking) -> None:
    site = rest.site

    async def banned(exchange: Any) -> None:
        if exchange.request.path.endswith("api/chat"):
            body = {"error_type": "account.banned", "message": "No."}
            await send_reply(body, 400)(exchange)
        else:
            await site(exchange)

    rest.upstream.set_default_script(banned)
    with pytest.raises(AuthRejected) as raised:
        await rest.answer()
    assert raised.value.upstream_status == 400
    with pytest.raises(Rejected):  # here the row may have named an agent that is not there
        await rest.answer(model={"options": {"kimiplus_id": "c" * 20}})
