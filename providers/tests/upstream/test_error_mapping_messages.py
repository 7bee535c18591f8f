"""What callers may see of an upstream's message: one line, without the secret."""

import pytest
from hypothesis import settings

from providers.tests.upstream.refusals import SECRET, map_refusal
from providers.upstream.error_mapping import (
    MESSAGE_LENGTH,
    clean_message,
)

FAST = settings(derandomize=True, database=None, deadline=None, max_examples=250)


def test_a_message_is_one_bounded_line() -> None:
    shown = map_refusal(400, {"message": "a\r\nb\x1b[31m\u2028c\x00\ud800 " + "x" * 9_000}).message
    assert shown.startswith("a b [31m c x")
    assert len(shown) == MESSAGE_LENGTH
    assert shown.isprintable()


@pytest.mark.parametrize(
    "message",
    [
        f"Incorrect API key provided: {SECRET}.",
        f"{SECRET}{SECRET}",
        f"x {SECRET[:9]}",
        "y" * (MESSAGE_LENGTH - 9) + SECRET,
    ],
)
def test_the_secret_is_blanked_wherever_the_message_has_it(message: str) -> None:
    for status in (400, 401, 403, 429, 500):
        shown = map_refusal(status, {"message": message}, secret=SECRET).message
        assert SECRET not in shown
        assert SECRET[9:] not in shown
    assert (
        clean_message(message, SECRET)
        == " ".join(message.replace(SECRET, "***").split())[:MESSAGE_LENGTH]
    )


@pytest.mark.parametrize("field", ["code", "param", "message", "type"])
def test_the_secret_is_blanked_in_every_field_that_the_caller_sees(field: str) -> None:
    found = map_refusal(400, {"message": "m", field: f"bad {SECRET}"}, secret=SECRET)
    assert SECRET not in f"{found.message} {found.shown_code} {found.param} {found.type} {found}"


@pytest.mark.parametrize("field", ["code", "param"])
def test_what_else_the_upstream_says_is_one_bounded_line_too(field: str) -> None:
    found = map_refusal(400, {field: "a\r\nb\x00" + "x" * 100_000})
    shown = f"{found.shown_code} {found.param}"
    assert shown.isprintable()
    assert len(shown) < 2 * MESSAGE_LENGTH


def test_an_empty_secret_blanks_nothing() -> None:
    assert map_refusal(400, {"message": "as it is"}, secret="").message == "as it is"
