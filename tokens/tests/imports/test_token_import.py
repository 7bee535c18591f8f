import json
import random
import threading
from dataclasses import asdict
from typing import Any

import pytest
from django.db import connection

from providers import vault
from providers.models import Provider, Revision
from tokens.imports import token_import
from tokens.imports.token_import import (
    KNOWN,
    MALFORMED,
    NEW,
    TWICE_IN_FILE,
    ImportReport,
    decode_text_file,
)
from tokens.models import UpstreamToken


@pytest.fixture
def provider(db: None) -> Provider:
    return Provider.objects.create(name="p", kind="echo")


def run(provider: Provider, text: str | bytes, **options: Any) -> ImportReport:
    return token_import.import_lines(
        provider, decode_text_file(text.encode() if isinstance(text, str) else text), **options
    )


def secrets() -> set[str]:
    return {vault.decrypt_secret(row.sealed, str(row.pk)) for row in UpstreamToken.objects.all()}


# --- verdicts -------------------------------------------------------------------------------------
MIXED = (
    "\ufeff# tokens of June\r\n"
    "sk-made-up-0000000001\r\n"
    "\r\n"
    "  sk-made-up-0000000002  \r\n"
    "sk-made-up-0000000001\r\n"
    "sk-known-000000000003\r\n"
    "abc\r\n"
    "sk-with a-space-00004\r\n"
    "sk-nül-00000000000005\r\n"
    "sk-nul-\0-0000000000006\r\n"
    "=cmd|' /C calc'!A0\r\n"
    "   # a comment after spaces\r\n" + "x" * 2**20 + "\r\n"
    "sk-made-up-0000000007"
)


def test_every_line_gets_a_verdict_with_its_number(provider: Provider) -> None:
    UpstreamToken.from_secret(provider, "sk-known-000000000003").save()
    report = run(provider, MIXED)
    assert [(one.line, one.verdict) for one in report.verdicts] == [
        (2, NEW),
        (4, NEW),
        (5, TWICE_IN_FILE),
        (6, KNOWN),
        (7, MALFORMED),
        (8, MALFORMED),
        (9, MALFORMED),
        (10, MALFORMED),
        (11, MALFORMED),
        (13, MALFORMED),
        (14, NEW),
    ]
    reasons = [one.reason for one in report.verdicts if one.verdict == MALFORMED]
    assert reasons == [
        "too short",
        "has a space inside",
        "has characters that no HTTP header can carry",
        "has a NUL byte",
        "has a space inside",
        "longer than 8192 characters",
    ]
    assert report.skipped_lines == 3
    assert report.verdict_counts == {NEW: 3, TWICE_IN_FILE: 1, KNOWN: 1, MALFORMED: 6}
    assert secrets() == {
        *(
            "sk-made-up-0000000001",
            "sk-made-up-0000000002",
            "sk-known-000000000003",
            "sk-made-up-0000000007",
        )
    }


def test_a_report_carries_no_secret(provider: Provider) -> None:
    report = run(provider, MIXED)
    shown = json.dumps([asdict(one) for one in report.verdicts], ensure_ascii=False) + repr(report)
    for line in MIXED.split("\r\n"):
        token = line.strip()
        if len(token) >= 4 and not token.startswith(("#", "\ufeff#")):
            assert token not in shown
            assert token[6:-4] not in shown or len(token) < 16
    assert all(one.token == "" for one in report.verdicts if one.verdict == MALFORMED)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("two words", "has a space inside"),
        ("a\tb-0000", "has a space inside"),
        ("a\0b-0000", "has a NUL byte"),
        ('=HYPERLINK("http://evil.example")', "begins as a formula of a spreadsheet does"),
        ("@SUM(1+1)*cmd|calc!A0", "begins as a formula of a spreadsheet does"),
        ("sk-made-up-1,June", "has a comma, and its parts are not tokens of one kind"),
        ("API_KEY", "is the heading of a column"),
        ("abc", "too short"),
        ("k\u00fcrzel-0000", "has characters that no HTTP header can carry"),
        ("\ud800-0000", "has characters that no HTTP header can carry"),
        (f"june@{'a' * 188}.{'b' * 63}:pw", "has an address longer than 254 characters"),
        ("june@example.org:a\0b", "has control characters"),
        ("june@example.org:\ud800", "has control characters"),
        ("ju\0ne@example.org:pw", "has control characters"),
    ],
)
@pytest.mark.parametrize("kind", ["echo", "k2think_web"])
def test_a_bad_line_says_why_and_stops_nothing(
    provider: Provider, kind: str, line: str, reason: str
) -> None:
    Provider.objects.update(kind=kind)
    provider.refresh_from_db()
    report = token_import.import_lines(
        provider, ["sk-made-up-0000000001", line, "sk-made-up-0000000002"]
    )
    assert report.verdict_counts == {NEW: 2, MALFORMED: 1}
    assert (report.verdicts[1].line, report.verdicts[1].reason, report.verdicts[1].token) == (
        2,
        reason,
        "",
    )


def test_what_a_spreadsheet_puts_into_quotes_is_taken_out_of_them(provider: Provider) -> None:
    assert (
        run(
            provider, '"token"\n"sk-made-up-0000000001"\n"sk-""quoted""-000000002"\n""\n'
        ).verdict_counts[NEW]
        == 2
    )
    assert secrets() == {"sk-made-up-0000000001", 'sk-"quoted"-000000002'}


def test_blank_lines_and_comments_are_counted_and_a_last_line_end_is_none(
    provider: Provider,
) -> None:
    assert run(provider, "a-token-one-1\n").skipped_lines == 0
    assert run(provider, "a-token-one-1\n\n# two\n").skipped_lines == 2


def test_whatever_a_file_has_the_good_lines_come_in(provider: Provider) -> None:
    noise = random.Random(8)
    bad = [
        noise.randbytes(noise.randrange(1, 60)).replace(b"\n", b"").replace(b"\r", b"")
        for _ in range(300)
    ]
    bad += [b"june@example.org:" + line for line in bad]
    good = [f"sk-made-up-{number:08}" for number in range(300)]
    lines = [
        line for pair in zip(bad, (one.encode() for one in good), strict=False) for line in pair
    ]
    lines += [b"# " + b"words " * 20] * 300
    data = b"\n".join(line.translate(None, bytes(range(9))) for line in lines)
    for text in (decode_text_file(data), decode_text_file(data.decode("latin-1").encode("utf-16"))):
        run_again = token_import.import_lines(provider, text)
        assert set(good) <= secrets()
    assert run_again.verdict_counts[NEW] <= len(bad)


def test_running_twice_adds_nothing(provider: Provider) -> None:
    run(provider, MIXED)
    before = UpstreamToken.objects.count()
    report = run(provider, MIXED)
    assert report.verdict_counts[NEW] == 0
    assert report.verdict_counts[KNOWN] == before == UpstreamToken.objects.count()


def test_known_tokens_are_left_as_they_are(provider: Provider) -> None:
    row = UpstreamToken.from_secret(
        provider, "sk-made-up-0000000001", label="mine", state="disabled", weight=7
    )
    row.save()
    run(provider, MIXED)
    sealed = row.sealed
    row.refresh_from_db()
    assert (row.label, row.state, row.weight, row.sealed) == ("mine", "disabled", 7, sealed)


def test_the_same_token_may_stand_at_two_providers(provider: Provider) -> None:
    other = Provider.objects.create(name="q", kind="echo")
    assert (
        run(provider, "sk-made-up-1").verdict_counts
        == run(other, "sk-made-up-1").verdict_counts
        == {NEW: 1}
    )


def test_a_dry_run_reports_the_same_and_writes_nothing(provider: Provider) -> None:
    UpstreamToken.from_secret(provider, "sk-known-000000000003").save()
    version = Revision.objects.get(topic="tokens").version
    dry = run(provider, MIXED, dry_run=True)
    assert UpstreamToken.objects.count() == 1
    assert Revision.objects.get(topic="tokens").version == version
    assert dry == run(provider, MIXED)


@pytest.mark.parametrize("text", ["", "\n\n\n", "# only\n# comments\n", "\ufeff"])
def test_a_file_without_tokens_is_no_error(provider: Provider, text: str) -> None:
    report = run(provider, text)
    assert report.verdicts == []
    assert report.skipped_lines == text.count("\n")


# --- many -----------------------------------------------------------------------------------------
def test_many_lines_come_in_with_few_statements_and_progress(
    provider: Provider, django_assert_max_num_queries: Any
) -> None:
    batches = 4
    count = batches * token_import.BATCH_SIZE
    lines = [f"sk-made-up-{number:08}" for number in range(count)]
    told: list[int] = []
    with django_assert_max_num_queries(30 * batches):
        report = token_import.import_lines(provider, lines, report_progress=told.append)
    assert report.verdict_counts == {NEW: count}
    assert UpstreamToken.objects.count() == count
    assert told == sorted(told)
    assert len(told) >= batches
    assert told[-1] == count
    assert [one.line for one in report.verdicts] == list(range(1, count + 1))


def test_a_duplicate_far_away_in_the_file_is_found(provider: Provider) -> None:
    lines = [f"sk-made-up-{number:08}" for number in range(token_import.BATCH_SIZE + 10)]
    report = token_import.import_lines(provider, [*lines, lines[0], lines[-1]])
    assert report.verdict_counts == {NEW: len(lines), TWICE_IN_FILE: 2}


def test_an_import_that_breaks_off_keeps_whole_batches_and_can_be_run_again(
    provider: Provider,
) -> None:
    lines = [f"sk-made-up-{number:08}" for number in range(2 * token_import.BATCH_SIZE + 5)]

    def broken() -> Any:
        yield from lines[: token_import.BATCH_SIZE + 7]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        token_import.import_lines(provider, broken())
    assert UpstreamToken.objects.count() == token_import.BATCH_SIZE
    assert token_import.import_lines(provider, lines).verdict_counts == {
        KNOWN: token_import.BATCH_SIZE,
        NEW: token_import.BATCH_SIZE + 5,
    }


@pytest.mark.usefixtures("transactional_db")
def test_two_imports_at_once_do_not_collide() -> None:
    provider = Provider.objects.create(name="p", kind="echo")
    lines = [f"sk-made-up-{number:08}" for number in range(300)]
    start, failed = threading.Barrier(2), []
    added: list[int] = []

    def work(order: int) -> None:
        try:
            start.wait(10)
            added.append(token_import.import_lines(provider, lines[::order]).verdict_counts[NEW])
        except Exception as error:  # noqa: BLE001 - told below
            failed.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(order,)) for order in (1, -1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert secrets() == set(lines)
    assert sum(added) == len(lines), "each token is new once"
