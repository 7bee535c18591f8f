import json
import logging
import logging.config
import sys
from collections.abc import Callable
from typing import Any

import pytest

from proxysite.logging import (
    JsonFormatter,
    LineFormatter,
    build_logging_config,
    redact_secrets,
)


def line(message: str, *args: Any, **fields: Any) -> str:
    record = logging.LogRecord(
        "tokens.pool.pool",
        logging.WARNING,
        __file__,
        1,
        message,
        args,
        fields.pop("exc_info", None),
    )
    vars(record).update(fields)
    return LineFormatter().format(record)


# --- one line -------------------------------------------------------------------------------------
def test_a_line_has_its_time_in_utc_level_name_and_text() -> None:
    found = line("%d tokens for %s", 3, "moonshot", created=1_700_000_000.25, msecs=250.0)
    assert found == "2023-11-14T22:13:20.250Z WARNING tokens.pool.pool: 3 tokens for moonshot"


@pytest.mark.parametrize("code", [*range(32), *range(127, 160), 0x2028, 0x2029])
def test_whatever_a_caller_puts_into_a_text_stays_on_its_line(code: int) -> None:
    found = line("path %s end", f"a{chr(code)}2026-01-01 CRITICAL root: forged")
    assert len(found.splitlines()) == 1
    assert chr(code) not in found
    assert found.endswith("forged end")


def test_ordinary_text_of_any_script_stays_readable() -> None:
    assert line("東京 🎈 é <b>").endswith(": 東京 🎈 é <b>")


def raised(message: str) -> Any:
    try:
        raise ValueError(message)
    except ValueError:
        return sys.exc_info()


def test_a_traceback_keeps_its_lines_indented_and_escaped() -> None:
    found = line(
        "failed", exc_info=raised("bad\n2026-01-01 CRITICAL root: forged\x1b[31m")
    ).splitlines()
    assert found[0].endswith(": failed")
    assert all(part.startswith("    ") for part in found[1:])
    assert found[1] == "    Traceback (most recent call last):"
    assert "\x1b" not in "".join(found)


# --- JSON ---------------------------------------------------------------------------------------
def test_json_has_one_object_a_line_with_the_same_facts() -> None:
    record = logging.LogRecord(
        "a.b",
        logging.ERROR,
        __file__,
        1,
        "line\nbreak %s",
        ("sk-live-abcdefgh \ud800",),
        raised("x"),
    )
    record.created = 1_700_000_000.25
    record.msecs = 250.0
    found = JsonFormatter().format(record)
    assert len(found.splitlines()) == 1
    fields = json.loads(found)
    assert fields["time"] == "2023-11-14T22:13:20.250Z"
    assert (fields["level"], fields["logger"]) == ("ERROR", "a.b")
    assert fields["message"].startswith("line\nbreak sk-live-***")
    assert "ValueError: x" in fields["traceback"]


@pytest.mark.parametrize("line_format", ["line", "json"])
def test_both_forms_can_be_configured(line_format: str) -> None:
    config = build_logging_config("INFO", line_format)
    logging.config.DictConfigurator(config | {"root": {}, "loggers": {}}).configure_formatter(
        config["formatters"][line_format]
    )
    assert config["handlers"]["stderr"]["formatter"] == line_format


# --- secrets --------------------------------------------------------------------------------------
TAIL = "Zq7Rk2Wm9Xp4Vt1Ys8Lb3Nc6"
SECRETS = {
    "our key": f"sk-ps-{TAIL}{TAIL}",
    "OpenAI's": f"sk-proj-{TAIL}_x-{TAIL}",
    "a plain one": f"sk-{TAIL}",
    "Groq's": f"gsk_{TAIL}{TAIL}",
    "a bearer": f"Authorization: Bearer {TAIL}.{TAIL}/+=",
    "a bearer in small letters": f"authorization: bearer {TAIL}",
    "a bearer in a dict": f"{{'Authorization': 'Bearer {TAIL}'}}",
    "a bearer in bytes": f"[(b'authorization', b'Bearer {TAIL}')]",
    "a bearer in JSON": f'{{"authorization": "Bearer {TAIL}"}}',
    "a bearer after a line end": f"Bearer\n{TAIL}",
    "a bearer after a tab": f"Bearer\t{TAIL}",
    "a JWT": f"token eyJhbGciOiJIUzI1NiJ9.{TAIL}.{TAIL}",
    "a JWT without signature": f"eyJhbGciOiJIUzI1NiJ9.{TAIL}.",
    "a database URL": f"postgres://proxysite:{TAIL}@db.example:5432/proxysite",
    "a Redis URL": f"redis://:{TAIL}@127.0.0.1:6379/0",
    "a URL with a user": f"https://user:{TAIL}@example.com/v1",
    "two in one line": f"sk-{TAIL} and sk-{TAIL}",
    "a header of ours": f"x-api-key: sk-{TAIL}",
}


@pytest.mark.parametrize("case", SECRETS)
@pytest.mark.parametrize("way", ["in the message", "as an argument", "in a traceback"])
def test_a_secret_stands_in_no_line(case: str, way: str) -> None:
    text = SECRETS[case]
    told: dict[str, Callable[[], str]] = {
        "in the message": lambda: line(text.replace("%", "%%")),
        "as an argument": lambda: line("upstream said %s", text),
        "in a traceback": lambda: line("failed", exc_info=raised(text)),
    }
    found = told[way]()
    assert TAIL not in found
    assert TAIL[8:] not in found
    assert "***" in found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "task sk-1",
        "a risk-free day",
        "the bearer",
        "http://127.0.0.1:8000/v1",
        "user@example.com",
        "eyJ.a",
        "12:30:00",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact_secrets(text) == text


def test_what_stands_around_a_secret_stays() -> None:
    assert redact_secrets(f"a Bearer {TAIL}, b") == "a Bearer ***, b"
    assert redact_secrets(f"postgres://me:{TAIL}@db/x y") == "postgres://me:***@db/x y"
    assert redact_secrets(f"(sk-ps-{TAIL})") == "(sk-ps-***)"


@pytest.mark.parametrize(
    "piece",
    ["eyJ-", "sk-", "sk-a-", "Bearer ", "bearer  ", "://a:", "://:b", "a:b@", "eyJaaaaaaaa.", "x"],
)
@pytest.mark.timeout(30)  # a megabyte takes milliseconds; the square of it would take minutes
def test_a_megabyte_of_beginnings_is_no_hang(piece: str) -> None:
    said = redact_secrets(piece * (1_000_000 // len(piece)))
    assert 0 < len(said) <= 1_000_000
