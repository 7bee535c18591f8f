"""`copy_database`: everything from SQLite to Postgres, whatever interrupts it, and nothing where it
does not belong.
"""

import json
import re
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing

import httpx
import psycopg
import pytest
from django.conf import settings

from proxysite.testing.house import House, create_own_database, poll_until

pytestmark = [
    pytest.mark.skipif(settings.EMBEDDED_DATABASE, reason="needs Postgres"),
    pytest.mark.timeout(240),  # a dozen processes, one after the other
]
USAGE_ROWS = 3_000
PATIENCE_SECONDS = 60.0  # the target is migrated first
NEWER_TABLES = (
    "api_batch",
    "api_busiestsubjects",
    "conversations_partedupload",
    "conversations_uploadpart",
    "providers_mcpserver",
    "providers_mcpserver_users",
    "proxysite_backuprun",
)
FILL = f"""
from datetime import UTC, datetime
from uuid import uuid4
from django.contrib.auth.models import User
from api.models import Batch, BusiestSubjects, UsageRecord
from api.usage.folding import fold_all_records
from conversations.files import file_storage as files, parted_uploads_store as uploads
from conversations.documents import ingest
from conversations.models import FilePurpose
from providers.models import McpServer, Provider
from proxysite.models import BackupRun
from tokens.imports import token_import as importing

admin = User.objects.get(username="admin")
acme = Provider.objects.create(
    name="acme", kind="openai_compatible", base_url="https://acme.example/v1"
)
importing.import_lines(acme, ["tok-canary-one", "tok-canary-two"])
text = b"The quick brown fox jumps over the lazy dog. " * 200
upload = files.Upload("fox.txt", "", FilePurpose.USER_DATA, [text])
ingest.ingest_file_document(ingest.create_or_reset_document(files.store_file(admin.pk, upload)).pk)
Provider.objects.filter(name="echo").update(headers={{"x": "a\\u0000b"}})
rows = [
    UsageRecord(
        id=uuid4(), user=admin, started_at=datetime(2026, 1, 1, tzinfo=UTC),
        endpoint="chat/completions", stream=False,
        model=f"m{{n}} ü 家", status="complete", http_status=200,
        attempts=[{{"n": n, "share": 0.1}}], total_ms=n,
    )
    for n in range({USAGE_ROWS})
]
UsageRecord.objects.bulk_create(rows, batch_size=500)
fold_all_records()
now = datetime(2026, 1, 1, tzinfo=UTC)
Batch.objects.create(
    user=admin, endpoint="/v1/embeddings", completion_window="24h", input_file_id="file-1",
    expires_at=now, caller_address="2001:db8::1", metadata={{"share": 0.5}},
)
announced = uploads.AnnouncedFile("b.txt", "text/plain", "user_data", 8)
uploads.add_part(uploads.create_upload(admin.pk, announced), [b"four"])
McpServer.objects.create(
    label="docs", url="https://mcp.example/mcp", call_seconds=2.5, allowed_tools=["search"]
).users.add(admin)
BackupRun.objects.create(file_name="a.backup", size_bytes=2**40, seconds=0.1)
BusiestSubjects.objects.create(
    days=7, begin=now, end=now, milliseconds=3, sums={{"user": [[1, 2, 3.5, None]]}}
)
"""


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A house on SQLite that has been used, and has ended; and its first key."""
    house = House(tmp_path_factory.mktemp("filled") / "home")
    try:
        key = re.search(r"API key +(\S+)", house.start())[1]
        for text in ("Where is Graz?", "天气怎么样"):
            assert chat(house, key, text).status_code == 200
        assert house.end_process() == 0
        house.run_manage_command("shell", "-c", FILL)
        yield house, key
    finally:
        house.kill_process()


def chat(house, key, text, model="echo"):
    body = {
        "model": model,
        "messages": [{"role": "user", "content": text}],
        "conversation_id": "travels",
    }
    headers = {"authorization": f"Bearer {key}"}
    url = f"{house.url}/v1/chat/completions"
    return httpx.post(url, json=body, headers=headers, trust_env=False, timeout=30)


@pytest.fixture
def target():
    with create_own_database() as url:
        yield url


def ask(url, statement):
    with psycopg.connect(url) as connection:
        return connection.execute(statement).fetchall()


def refused(house, *arguments):
    """The one line that the command says when it refuses."""
    done = launch(house, *arguments)
    out, error = done.communicate(timeout=60)
    assert done.returncode == 1, (out, error)
    (line,) = [line for line in error.splitlines() if not line.startswith("Database: ")]
    return line


def launch(house, *arguments):
    return subprocess.Popen(
        [sys.executable, "manage.py", "copy_database", *arguments],
        cwd=settings.BASE_DIR,
        env=house.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def source_counts(house):
    with closing(sqlite3.connect(house.home / "proxysite.sqlite3")) as db:
        names = [
            name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        skipped = r"sqlite_|django_migrations|conversations_words_(index|left)"
        names = [name for name in names if not re.match(skipped, name)]
        return {name: db.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in names}


def test_everything_is_there_and_works_afterwards(filled, target):
    house, key = filled
    dry = house.run_manage_command("copy_database", target, "--dry-run")
    assert "Nothing was written" in dry
    assert ask(target, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]

    said = house.run_manage_command("copy_database", target)
    shown = {
        name: int(count)
        for name, count, _ in re.findall(r"^(\w+) +(\d+)  ([0-9a-f]{32})$", said, re.MULTILINE)
    }
    counts = source_counts(house)
    assert shown == {name: count for name, count in counts.items() if count}
    assert counts["api_usagerecord"] > USAGE_ROWS
    assert counts["conversations_words"] >= 2
    for name in NEWER_TABLES:
        assert counts[name] == 1, name
    assert "DATABASE_URL=" in said
    for name, count in counts.items():
        assert ask(target, f"SELECT count(*) FROM {name}") == [(count,)], name
    assert ask(target, "SELECT headers FROM providers_provider WHERE name = 'echo'") == [
        ({"x": "a\ufffdb"},)
    ]
    assert ask(target, "SELECT count(*) FROM pg_trigger WHERE tgenabled = 'D'") == [(0,)]
    (foreign_keys,) = ask(
        target, "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND convalidated"
    )
    assert foreign_keys[0] > 20
    assert "not empty" in refused(house, target)

    moved = House(house.home, target)
    try:
        assert "This is shown once" not in moved.start()
        assert chat(moved, key, "And now?").status_code == 200
        headers = {"authorization": f"Bearer {key}"}
        found = httpx.get(
            f"{moved.url}/v1/conversations/search?q=Graz", headers=headers, trust_env=False
        )
        assert "Graz" in found.text, found.text
        moved.run_manage_command("issue_key", "newcomer")
        assert "0 imported, 1 known already" in moved.run_manage_command(
            "import_tokens", "acme", "-", stdin="tok-canary-one\n"
        )
        assert moved.end_process() == 0
        assert "ERROR" not in moved.output
    finally:
        moved.kill_process()


def test_a_copy_that_was_killed_goes_on(filled, target):
    house, _ = filled
    for _ in range(2):
        process = launch(house, target, "--slice-rows", "20")
        before = progress(target)

        def went_on(process=process, before=before):
            assert process.poll() is None, process.communicate()
            return progress(target) > before + 3

        poll_until(went_on, "some slices are written", PATIENCE_SECONDS)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert "not finished" in serve_refused(house, target)
    done = progress(target)
    said = house.run_manage_command("copy_database", target)
    assert progress(target) == 0 < done
    assert f"{sum(source_counts(house).values())} rows" in said


def progress(url):
    """How many rows of usage are there while a copy is under way."""
    try:
        ((there,),) = ask(url, "SELECT count(*) FROM pg_tables WHERE tablename = 'proxysite_copy'")
        return ask(url, "SELECT count(*) FROM api_usagerecord")[0][0] if there else 0
    except psycopg.Error:
        return 0


def serve_refused(house, url):
    moved = House(house.home, url)
    before = len(moved.output)
    moved.launch_process("--port", "0")
    assert moved.wait_for_end() == 1
    (line,) = moved.output[before:].splitlines()
    return line


def test_a_source_that_changed_after_the_kill_is_noticed(filled, target):
    house, _ = filled
    process = launch(house, target, "--slice-rows", "20")
    poll_until(lambda: progress(target) > 40, "some slices are written", PATIENCE_SECONDS)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (first,) = house.run_sql("SELECT min(rowid) FROM api_usagerecord")[0]
    house.run_sql(f"UPDATE api_usagerecord SET total_ms = 77 WHERE rowid = {first}")
    assert "api_usagerecord differs" in refused(house, target)
    assert "not finished" in serve_refused(house, target)


def test_a_running_gateway_and_a_wrong_target_are_refused(filled, target):
    house, _ = filled
    assert "no Postgres" in refused(house, "sqlite:////tmp/other.sqlite3")
    assert "is the source" in refused(house, f"sqlite:///{house.home}/proxysite.sqlite3")
    assert "The target is not" in refused(house, "garbage")
    nowhere = target.replace(":5432", ":1").replace("postgres@", "postgres:canary@")
    said = refused(house, nowhere)
    assert "cannot be used" in said
    assert "canary" not in said
    on_postgres = House(house.home, target)
    assert "no database" in refused(on_postgres, target)
    with psycopg.connect(target) as connection:
        connection.execute("CREATE TABLE theirs (id int)")
    assert "theirs" in refused(house, target)
    house.start()
    try:
        assert "A gateway runs on" in refused(house, target)
    finally:
        house.end_process()
    assert ask(target, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'") == [
        ("theirs",)
    ]
    assert json.dumps(said)
