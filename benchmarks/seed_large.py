"""Fill a throw-away database as a large site has it, to time the pages of the desk.

    DATABASE_URL=… PROXYSITE_HOME=… python -m benchmarks.seed_large [--records 5000000]

On Postgres the database is created if it does not exist; its name must begin with `large`. There
are providers with tokens in all states, models, users in teams, API keys, conversations of two
turns, and usage records of the last sixty days with their roll-ups. The administrator is `admin`
with the password `admin`.
"""

import argparse
import os
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import UUID

from benchmarks.large_records import RecordShape, render_insert

DAYS = 60
PROVIDERS = 8
MODELS = 40
TEAMS = 50
ROWS_AT_ONCE = 5_000


def set_up() -> None:
    """Create the home, the database on Postgres, and its tables; end on a wrong name."""
    import django

    from proxysite.home import Home

    if "PROXYSITE_HOME" not in os.environ:
        raise SystemExit("Name a throw-away directory in PROXYSITE_HOME.")
    home = Home(Path(os.environ["PROXYSITE_HOME"]))
    home.root.mkdir(parents=True, exist_ok=True, mode=0o700)
    home.load_or_make_secrets()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "proxysite.settings")
    django.setup()
    from django.core.management import call_command
    from django.db import connection

    if connection.vendor == "postgresql":
        create_database(connection.settings_dict)
    call_command("migrate", verbosity=0)


def create_database(settings: dict[str, Any]) -> None:
    import psycopg

    name = settings["NAME"]
    if not name.startswith("large"):
        raise SystemExit(
            f"The database {name} is not a throw-away one: its name must begin with large."
        )
    with psycopg.connect(
        host=settings["HOST"],
        port=settings["PORT"] or 5432,
        user=settings["USER"],
        password=settings["PASSWORD"],
        dbname="postgres",
        autocommit=True,
    ) as server:
        if not server.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
            server.execute(f'CREATE DATABASE "{name}"')


def create_rows(rows: Iterator[Any]) -> None:
    """Write rows of one model, many at once."""
    while part := list(islice(rows, ROWS_AT_ONCE)):
        type(part[0])._base_manager.bulk_create(part)


# --- the rows -------------------------------------------------------------------------------------
def create_callers(users: int, keys: int) -> None:
    """Write the administrator, users in teams, and their keys."""
    from django.contrib.auth.models import User

    from api.models import ApiKey, Team, TeamMember

    User.objects.create_superuser("admin", password="admin")
    create_rows(User(username=f"user-{number}", password="!") for number in range(users))
    create_rows(Team(name=f"team-{number}") for number in range(TEAMS))
    teams = list(Team.objects.order_by("pk"))
    people = list(User.objects.filter(is_staff=False).order_by("pk"))
    create_rows(
        TeamMember(user=person, team=teams[number % TEAMS]) for number, person in enumerate(people)
    )
    create_rows(
        ApiKey(
            user=people[number % users],
            name=f"key {number}",
            prefix=f"sk-ps-{number:08x}",
            digest=f"{number:064x}",
        )
        for number in range(keys)
    )


def create_pools(tokens: int) -> None:
    """Write the providers with their models and tokens; one token in ten has trouble."""
    from providers.models import ChatModel, Provider
    from tokens.models import UpstreamToken

    create_rows(
        Provider(
            name=f"provider-{number}",
            kind="openai_compatible",
            base_url=f"https://provider-{number}.example/v1",
        )
        for number in range(PROVIDERS)
    )
    providers = list(Provider.objects.filter(name__startswith="provider-").order_by("pk"))
    for provider in providers:
        provider.confirm_destination()
    Provider.objects.bulk_update(providers, ["confirmed_destination"])
    create_rows(
        ChatModel(
            public_id=f"model-{number}",
            upstream_name=f"upstream-model-{number}",
            provider=providers[number % PROVIDERS],
        )
        for number in range(MODELS)
    )
    of_each = tokens // PROVIDERS
    create_rows(
        make_token(UpstreamToken, providers[number // of_each], number)
        for number in range(of_each * PROVIDERS)
    )


def make_token(model: Any, provider: Any, number: int) -> Any:
    """Return a token; its id is its number."""
    now = datetime.now(UTC)
    troubles: dict[int, dict[str, Any]] = {
        0: {"state": "disabled", "reason": "auth: Incorrect API key", "last_failure_at": now},
        10: {"rests_until": now + timedelta(hours=9), "reason": "too many requests"},
        20: {"state": "exhausted", "rests_until": now + timedelta(hours=9), "reason": "quota"},
        30: {"expires_at": now + timedelta(hours=8)},
    }
    token = model(id=UUID(int=number + 1), provider=provider, requests=50, last_used_at=now)
    token.seal_secret(f"sk-large-{number:08d}-abcdefghijklmnop")
    for name, value in troubles.get(number % 40, {}).items():
        setattr(token, name, value)
    return token


def create_conversations(count: int) -> None:
    """Write conversations of two turns, each with a question and an answer."""
    from django.contrib.auth.models import User

    from conversations.models import Conversation, Item, Turn

    people = list(User.objects.filter(is_staff=False).order_by("pk").values_list("pk", flat=True))

    def list_turns() -> Iterator[Any]:
        for number in range(count):
            for turn in (1, 2):
                yield Turn(
                    id=UUID(int=number * 2 + turn),
                    conversation_id=f"conv_{number:032x}",
                    user_id=people[number % len(people)],
                    number=turn,
                    endpoint="chat",
                    status="completed",
                    model=f"model-{number % MODELS}",
                    tokens=50,
                )

    def list_items() -> Iterator[Any]:
        for number in range(count):
            for turn in (1, 2):
                for role, output in (("user", False), ("assistant", True)):
                    text = f"Words of conversation {number}, turn {turn}, by the {role}."
                    kind = "output_text" if output else "input_text"
                    yield Item(
                        public_id=f"msg_{number:026x}{turn}{role[0]}",
                        conversation_id=f"conv_{number:032x}",
                        turn_id=UUID(int=number * 2 + turn),
                        output=output,
                        type="message",
                        role=role,
                        text=text,
                        data={
                            "type": "message",
                            "role": role,
                            "content": [{"type": kind, "text": text}],
                        },
                    )

    create_rows(
        Conversation(
            id=f"conv_{number:032x}",
            user_id=people[number % len(people)],
            kind="open",
            title=f"Conversation {number}",
            last_number=2,
        )
        for number in range(count)
    )
    create_rows(list_turns())
    create_rows(list_items())


# --- the records ----------------------------------------------------------------------------------
def create_records(records: int, tokens: int) -> None:
    """Write the usage records and their roll-ups, without a trigger for each."""
    from django.contrib.auth.models import User
    from django.db import connection

    from api.models import ApiKey, RollupState, Team, UsageRecord
    from api.usage.record_additions import list_add_statements
    from api.usage.rollup_sql import RECORDS, get_dialect
    from providers.models import Provider

    users = User.objects.filter(is_staff=False).order_by("pk")
    shape = RecordShape(
        records=records,
        begin=datetime.now(UTC) - timedelta(days=DAYS),
        days=DAYS,
        keys=ApiKey.objects.count(),
        users=users.count(),
        teams=TEAMS,
        models=MODELS,
        providers=PROVIDERS,
        tokens=tokens,
        first_key=ApiKey.objects.order_by("pk")[0].pk,
        first_user=users[0].pk,
        first_team=Team.objects.order_by("pk")[0].pk,
        first_provider=Provider.objects.filter(name="provider-0").get().pk,
    )
    additions = list_add_statements(get_dialect(connection.vendor), RECORDS)
    execute(["SET statement_timeout = 0"], "postgresql")
    execute([f"ALTER TABLE {RECORDS} DISABLE TRIGGER USER"], "postgresql")
    report("records", lambda: execute([render_insert(connection.vendor, shape)]))
    report("roll-ups", lambda: execute(additions))
    execute([f"ALTER TABLE {RECORDS} ENABLE TRIGGER USER"], "postgresql")
    last = UsageRecord.objects.order_by("-id")[0].pk
    RollupState.objects.update_or_create(pk=1, defaults={"folded_record": last})
    report("statistics", analyze)


def execute(statements: Iterable[str], vendor: str = "") -> None:
    """Execute statements; with `vendor` on such a database alone."""
    from django.db import connection

    if vendor in ("", connection.vendor):
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)


def analyze() -> None:
    execute(["VACUUM ANALYZE"], "postgresql")
    execute(["ANALYZE"], "sqlite")


def report(name: str, work: Any) -> None:
    """Do some work and print how long it took."""
    started_at = time.perf_counter()
    work()
    print(f"{name:<16} {time.perf_counter() - started_at:7.1f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--records", type=int, default=5_000_000)
    parser.add_argument("--tokens", type=int, default=100_000)
    parser.add_argument("--keys", type=int, default=50_000)
    parser.add_argument("--users", type=int, default=5_000)
    parser.add_argument("--conversations", type=int, default=50_000)
    options = parser.parse_args()
    set_up()
    from api.models import UsageRecord

    if UsageRecord.objects.exists():
        raise SystemExit("There are usage records already: drop the database first.")
    report("callers", lambda: create_callers(options.users, options.keys))
    report("tokens", lambda: create_pools(options.tokens))
    report("conversations", lambda: create_conversations(options.conversations))
    create_records(options.records, options.tokens)


if __name__ == "__main__":
    main()
