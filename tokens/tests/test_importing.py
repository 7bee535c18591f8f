import json
import threading
from dataclasses import asdict
from typing import Any

import pytest
from django.db import connection

from providers import vault
from providers.models import Provider, Revision
from tokens import importing
from tokens.importing import IN_FILE, KNOWN, MALFORMED, NEW, Report, UnreadableFile, decode
from tokens.models import UpstreamToken


@pytest.fixture
def provider(db: None) -> Provider:
    return Provider.objects.create(name="p", kind="echo")


def run(provider: Provider, text: str | bytes, **options: Any) -> Report:
    return importing.run(provider, decode(text.encode() if isinstance(text, str) else text), **options)


def secrets() -> set[str]:
    return {vault.unseal(row.sealed, str(row.pk)) for row in UpstreamToken.objects.all()}


# --- the bytes of a file ----------------------------------------------------------------------------------------------
LINES = ["sk-one", "# two", "", "sk-three"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_text_is_read_in_every_encoding_and_with_every_line_end(encoding: str, end: str) -> None:
    assert decode(end.join(LINES).encode(encoding)) == LINES


def test_mixed_line_ends_are_line_ends_and_separators_of_unicode_are_not() -> None:
    assert decode("a\r\nb\rc\n\nd\u2028e\u0085f\x0b".encode()) == ["a", "b", "c", "", "d\u2028e\u0085f\x0b"]


@pytest.mark.parametrize(
    "data", [b"\x89PNG\r\n\x1a\n\xff\xd8", b"sk-one\n\xff\xfe\xfd", b"\xff\xfea", b"PK\x03\x04\xe9\xe9"], ids=repr
)
def test_what_is_no_text_is_refused_with_the_place(data: bytes) -> None:
    with pytest.raises(UnreadableFile, match=r"is not UTF-(8|16) text \(byte \d+\)"):
        decode(data)


# --- verdicts ---------------------------------------------------------------------------------------------------------
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
    UpstreamToken.of(provider, "sk-known-000000000003").save()
    report = run(provider, MIXED)
    assert [(one.line, one.verdict) for one in report.verdicts] == [
        (2, NEW),
        (4, NEW),
        (5, IN_FILE),
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
        "has characters that no HTTP header can carry",
        "has a space inside",
        "longer than 8192 characters",
    ]
    assert report.skipped == 3
    assert report.counts == {NEW: 3, IN_FILE: 1, KNOWN: 1, MALFORMED: 6}
    assert secrets() == {
        *("sk-made-up-0000000001", "sk-made-up-0000000002", "sk-known-000000000003", "sk-made-up-0000000007")
    }


def test_a_report_carries_no_secret(provider: Provider) -> None:
    report = run(provider, MIXED)
    shown = json.dumps([asdict(one) for one in report.verdicts], ensure_ascii=False) + repr(report)
    for line in MIXED.split("\r\n"):
        token = line.strip()
        if len(token) >= 4 and not token.startswith(("#", "\ufeff#")):
            assert token not in shown
            assert token[6:-4] not in shown or len(token) < 16


def test_running_twice_adds_nothing(provider: Provider) -> None:
    run(provider, MIXED)
    before = UpstreamToken.objects.count()
    report = run(provider, MIXED)
    assert report.counts[NEW] == 0
    assert report.counts[KNOWN] == before == UpstreamToken.objects.count()


def test_known_tokens_are_left_as_they_are(provider: Provider) -> None:
    row = UpstreamToken.of(provider, "sk-made-up-0000000001", label="mine", state="disabled", weight=7)
    row.save()
    run(provider, MIXED)
    sealed = row.sealed
    row.refresh_from_db()
    assert (row.label, row.state, row.weight, row.sealed) == ("mine", "disabled", 7, sealed)


def test_the_same_token_may_stand_at_two_providers(provider: Provider) -> None:
    other = Provider.objects.create(name="q", kind="echo")
    assert run(provider, "sk-made-up-1").counts == run(other, "sk-made-up-1").counts == {NEW: 1}


def test_a_dry_run_reports_the_same_and_writes_nothing(provider: Provider) -> None:
    UpstreamToken.of(provider, "sk-known-000000000003").save()
    version = Revision.objects.get(topic="tokens").version
    dry = run(provider, MIXED, dry_run=True)
    assert UpstreamToken.objects.count() == 1
    assert Revision.objects.get(topic="tokens").version == version
    assert dry == run(provider, MIXED)


@pytest.mark.parametrize("text", ["", "\n\n\n", "# only\n# comments", "\ufeff"])
def test_a_file_without_tokens_is_no_error(provider: Provider, text: str) -> None:
    report = run(provider, text)
    assert report.verdicts == []
    assert report.skipped == len(decode(text.encode()))


# --- many -------------------------------------------------------------------------------------------------------------
def test_ten_thousand_lines_come_in_with_few_statements_and_progress(
    provider: Provider, django_assert_max_num_queries: Any
) -> None:
    lines = [f"sk-made-up-{number:08}" for number in range(10_000)]
    told: list[int] = []
    batches = 10_000 // importing.BATCH
    with django_assert_max_num_queries(30 * batches):
        report = importing.run(provider, lines, progress=told.append)
    assert report.counts == {NEW: 10_000}
    assert UpstreamToken.objects.count() == 10_000
    assert told == sorted(told)
    assert len(told) >= batches
    assert told[-1] == 10_000
    assert [one.line for one in report.verdicts] == list(range(1, 10_001))


def test_a_duplicate_far_away_in_the_file_is_found(provider: Provider) -> None:
    lines = [f"sk-made-up-{number:08}" for number in range(importing.BATCH + 10)]
    report = importing.run(provider, [*lines, lines[0], lines[-1]])
    assert report.counts == {NEW: len(lines), IN_FILE: 2}


def test_an_import_that_breaks_off_keeps_whole_batches_and_can_be_run_again(provider: Provider) -> None:
    lines = [f"sk-made-up-{number:08}" for number in range(2 * importing.BATCH + 5)]

    def broken() -> Any:
        yield from lines[: importing.BATCH + 7]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        importing.run(provider, broken())
    assert UpstreamToken.objects.count() == importing.BATCH
    assert importing.run(provider, lines).counts == {KNOWN: importing.BATCH, NEW: importing.BATCH + 5}


@pytest.mark.django_db(transaction=True)
def test_two_imports_at_once_do_not_collide() -> None:
    provider = Provider.objects.create(name="p", kind="echo")
    lines = [f"sk-made-up-{number:08}" for number in range(300)]
    start, failed = threading.Barrier(2), []

    def work(order: int) -> None:
        try:
            start.wait(10)
            importing.run(provider, lines[::order])
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
