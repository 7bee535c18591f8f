"""A house that has something of everything, and callers that go on asking it."""

import threading
from collections import Counter
from contextlib import contextmanager

import httpx

PASSPHRASE = "the passphrase of a drill"
TOKEN = "tok-canary-of-acme"
FILE_BYTES = b"The quick brown fox jumps over the lazy dog. " * 200
USAGE_ROWS = 1_500
PATIENCE_SECONDS = 30.0
FILL = f"""
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import uuid4
from django.contrib.auth.models import User
from django.utils import timezone
from api.key_rights.limit_rows import update_limits
from api.models import ApiKey, Price, UsageRecord
from api.usage.folding import fold_all_records
from conversations.documents import ingest
from conversations.files import file_storage
from conversations.models import FilePurpose
from providers.models import Provider
from tokens.imports import token_import
from tokens.imports.batch_model import ImportBatch, ImportText

admin = User.objects.get(username="admin")
acme = Provider.objects.create(
    name="acme", kind="openai_compatible", base_url="https://acme.example/v1",
    proxy_url="http://june:proxy-canary@proxy.example:8080",
)
token_import.import_lines(acme, ["{TOKEN}", "tok-canary-two"])
k2 = Provider.objects.create(name="k2", kind="k2think_web", base_url="https://k2.example")
token_import.import_lines(k2, ["june@example.org:password-canary"])
batch = ImportBatch.objects.create(
    provider=acme, source="drill", text_expires_at=timezone.now() + timedelta(days=1)
)
piece = ImportText(batch=batch, number=0)
piece.seal_text("tok-canary-three")
piece.save()
upload = file_storage.Upload("fox.txt", "", FilePurpose.USER_DATA, [{FILE_BYTES!r}])
stored = file_storage.store_file(admin.pk, upload)
ingest.ingest_file_document(ingest.create_or_reset_document(stored).pk)
Price.objects.create(
    provider=acme, upstream_model="m", valid_from=datetime(2026, 1, 1, tzinfo=UTC),
    prompt_usd=Decimal("0.25"), completion_usd=Decimal("2"),
)
update_limits({{"key": ApiKey.objects.get(), "for_each_end_user": False}},
              {{"requests_per_minute": 100_000}})
UsageRecord.objects.bulk_create([
    UsageRecord(
        id=uuid4(), user=admin, started_at=datetime(2026, 1, 1, tzinfo=UTC),
        endpoint="chat/completions", stream=False, model=f"m{{n}} ü 家\\n\\t\\\\",
        status="complete", http_status=200, attempts=[{{"n": n, "share": 0.1}}], total_ms=n,
    )
    for n in range({USAGE_ROWS})
], batch_size=500)
fold_all_records()
print(stored.pk)
"""
# a line for each secret that can be read
READ_SECRETS = """
from proxysite.backup.rotation.sealed_columns import list_columns, read_sealed_values
for column in list_columns():
    for sealed in read_sealed_values(column):
        print(column.name, sealed.open_text())
"""


def fill_house(house):
    """Give a house that has ended something of everything; return the id of the stored file."""
    return house.run_manage_command("shell", "-v", "0", "-c", FILL).split()[-1]


def make_client(house, key):
    headers = {"authorization": f"Bearer {key}"}
    return httpx.Client(
        base_url=house.url, headers=headers, trust_env=False, timeout=PATIENCE_SECONDS
    )


def ask(client, text, conversation):
    body = {"model": "echo", "messages": [{"role": "user", "content": text}]}
    answer = client.post("/v1/chat/completions", json=body | {"conversation_id": conversation})
    assert answer.status_code == 200, answer.text
    return answer.json()["choices"][0]["message"]["content"]


@contextmanager
def asking_callers(house, key):
    """Callers that ask until the block ends; yields the counter of their answers."""
    has_ended = threading.Event()
    counts = Counter()

    def ask_on(name):
        with make_client(house, key) as client:
            while not has_ended.is_set():
                try:
                    ask(client, f"question {counts[name]} of {name}", f"talk-{name}")
                    counts[name] += 1
                except (httpx.HTTPError, AssertionError) as error:
                    counts[f"failed: {error!r}"] += 1

    threads = [threading.Thread(target=ask_on, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    try:
        yield counts
    finally:
        has_ended.set()
        for thread in threads:
            thread.join()
