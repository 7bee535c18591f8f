"""Measure conversation history and search over a million stored items.

    python -m benchmarks.log --database postgres://postgres@127.0.0.1:5432/postgres
                             [--items 1000000]

Creates its own database on that server, fills it with made-up words whose frequencies follow Zipf's
law, measures, and drops the database. Without `--database` it uses SQLite in a temporary directory.
Prints one table of milliseconds. Nothing else should run on the machine meanwhile.
"""

import argparse
import os
import random
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import urlsplit, urlunsplit

USERS = 50
TURNS = 20  # in an ordinary conversation, two items each
LONG_TURNS = 500  # in the conversation that gets its thousandth message
WORDS = 80_000  # the number of different words
BATCH = 20_000  # items written in one transaction
BUDGET = 6_500  # tokens of history for a turn, as in an 8k window
SYLLABLES = [consonant + vowel for consonant in "bcdfghjklmnprstvwz" for vowel in "aeiou"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--database", default="", metavar="URL")
    parser.add_argument("--items", type=int, default=1_000_000)
    chosen = parser.parse_args()
    random.seed(7)
    with tempfile.TemporaryDirectory(prefix="proxysite-log-") as home:
        scratch = ScratchDatabase(chosen.database)
        os.environ |= {
            "PROXYSITE_HOME": home,
            "DATABASE_URL": scratch.url,
            "DJANGO_SETTINGS_MODULE": "proxysite.settings",
        }
        try:
            run_log_benchmark(chosen.items)
        finally:
            scratch.drop_database()


class ScratchDatabase:
    """A temporary database on a Postgres server.

    Without a server it is nothing: the SQLite database lives in the home.
    """

    def __init__(self, server: str) -> None:
        self._server = server
        self._name = f"bench_{uuid.uuid4().hex[:8]}"
        self.url = ""
        if server:
            self._execute_on_server(f'CREATE DATABASE "{self._name}"')
            self.url = urlunsplit(urlsplit(server)._replace(path=f"/{self._name}"))

    def drop_database(self) -> None:
        if self._server:
            self._execute_on_server(f'DROP DATABASE IF EXISTS "{self._name}" WITH (FORCE)')

    def _execute_on_server(self, statement: str) -> None:
        import psycopg

        with psycopg.connect(self._server, autocommit=True) as server:
            server.execute(statement.encode())


def run_log_benchmark(items: int) -> None:
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connection

    call_command("migrate", verbosity=0)
    began = time.perf_counter()
    made = MadeRows()
    made.create_items(items)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE" if connection.vendor == "postgresql" else "ANALYZE")
    print(f"{items:,} items in {connection.vendor}, made in {time.perf_counter() - began:.0f} s\n")
    print("| milliseconds | p50 | p95 | worst |\n|---|---|---|---|")
    for name, times in measure_log(made):
        ordered = sorted(times)
        p95 = ordered[int(len(ordered) * 0.95)]
        print(f"| {name} | {ordered[len(ordered) // 2]:.1f} | {p95:.1f} | {ordered[-1]:.1f} |")


class MadeRows:
    """The rows that this benchmark creates, and the facts about them that it needs later."""

    def __init__(self) -> None:
        from django.contrib.auth.models import User

        self.words = list(
            dict.fromkeys(
                "".join(random.choices(SYLLABLES, k=random.choice((2, 3, 3, 4))))
                for _ in range(WORDS)
            )
        )
        self.frequent_words = random.choices(
            self.words, [1 / (rank + 5) for rank in range(len(self.words))], k=1_000_000
        )
        self.users = [User.objects.create(username=f"user{number}").pk for number in range(USERS)]
        self.long_conversation_id = ""

    def make_text(self) -> str:
        count = min(400, int(random.lognormvariate(3.6, 0.9))) + 3
        start = random.randrange(len(self.frequent_words) - count)
        words = self.frequent_words[start : start + count]
        if random.random() < 0.3:
            words.append("ordinary")
        return " ".join(words)

    def create_items(self, items: int) -> None:
        (self.long_conversation_id,) = self._create_conversations(1, LONG_TURNS)
        missing = items - 2 * LONG_TURNS
        while missing > 0:
            count = BATCH // (2 * TURNS)
            self._create_conversations(count, TURNS)
            missing -= 2 * TURNS * count

    def _create_conversations(self, count: int, turns: int) -> list[str]:
        """Create conversations with that many turns each, and return their ids."""
        from django.db import transaction

        from conversations.models import Conversation, Item, Turn
        from conversations.search import item_search

        now = datetime.now(UTC)
        rows = [
            Conversation(user_id=random.choice(self.users), kind="open", last_number=turns)
            for _ in range(count)
        ]
        with transaction.atomic():
            Conversation.objects.bulk_create(rows)
            for row in rows:
                row_turns = [
                    Turn(
                        conversation=row,
                        user_id=row.user_id,
                        number=number,
                        endpoint="chat",
                        status="completed",
                        tokens=120,
                    )
                    for number in range(1, turns + 1)
                ]
                Turn.objects.bulk_create(row_turns)
                items = [
                    self._build_item(turn, output, now)
                    for turn in row_turns
                    for output in (False, True)
                ]
                item_search.add_items_to_index(row.user_id, Item.objects.bulk_create(items))
        return [row.pk for row in rows]

    def _build_item(self, turn: Any, output: bool, now: datetime) -> Any:
        from conversations.models import Item

        text = self.make_text()
        role = "assistant" if output else "user"
        part = {"type": "output_text" if output else "input_text", "text": text}
        return Item(
            public_id=f"msg_{turn.pk.hex}{int(output)}",
            conversation_id=turn.conversation_id,
            turn=turn,
            output=output,
            type="message",
            role=role,
            text=text,
            data={"type": "message", "role": role, "content": [part]},
            created_at=now,
        )


def measure_log(made_rows: MadeRows) -> Iterator[tuple[str, list[float]]]:
    """Yield the name of each measure and its times in milliseconds."""
    from conversations.history import context
    from conversations.models import Conversation

    conversations = list(Conversation.objects.order_by("id")[:400])
    yield (
        "recall of a conversation",
        time_calls(lambda: context.load_context(random.choice(conversations), BUDGET), 300),
    )
    fresh = Conversation.objects.create(user_id=made_rows.users[0], kind="open")
    for _ in range(4):
        write_turn(fresh.user_id, fresh.pk, made_rows.make_text())
    yield (
        "a turn at the 10th message",
        time_calls(lambda: write_turn(fresh.user_id, fresh.pk, made_rows.make_text()), 1),
    )
    yield (
        "a turn up to the 300th",
        time_calls(lambda: write_turn(fresh.user_id, fresh.pk, made_rows.make_text()), 150),
    )
    long = Conversation.objects.get(pk=made_rows.long_conversation_id)
    yield (
        "a turn after the 1,000th",
        time_calls(lambda: write_turn(long.user_id, long.pk, made_rows.make_text()), 150),
    )
    questions: dict[str, Callable[[], str]] = {
        "search: a word as it is said": lambda: random.choice(made_rows.frequent_words),
        "search: two such words": lambda: " ".join(random.choices(made_rows.frequent_words, k=2)),
        "search: a rare word": lambda: random.choice(made_rows.words[-WORDS // 2 :]),
        "search: a word in 30 % of the items": lambda: "ordinary",
        "search: words that nobody says": lambda: "qqqx zzzx",
    }
    for name, question in questions.items():
        yield name, time_calls(partial(search_once, made_rows, question), 200)


def search_once(made_rows: MadeRows, question: Callable[[], str]) -> None:
    """Search for the question's words among the items of a random user."""
    from conversations.search import item_search

    item_search.search_items(random.choice(made_rows.users), question(), 20)


def time_calls(call: Callable[[], object], count: int) -> list[float]:
    """Return the milliseconds of each of `count` calls."""
    milliseconds = []
    for _ in range(count):
        began = time.perf_counter()
        call()
        milliseconds.append((time.perf_counter() - began) * 1000)
    return milliseconds


def write_turn(user_id: int, conversation_id: str, text: str) -> None:
    """Write one turn from its request to its end, without an upstream."""
    from conversations.history import finish_turn, start_turn
    from conversations.history.turn_request import TurnRequest
    from conversations.messages import chat_to_items
    from conversations.models import TurnEndpoint, TurnStatus

    entries = chat_to_items.entries_from_messages([{"role": "user", "content": text}])
    request_id = uuid.uuid4().hex
    request = TurnRequest(
        request_id,
        user_id,
        TurnEndpoint.CHAT,
        "m",
        entries,
        conversation_id=conversation_id,
        budget_tokens=BUDGET,
    )
    start_turn.begin_turn(request)
    answer: Sequence[Any] = chat_to_items.entries_from_messages(
        [{"role": "assistant", "content": text}]
    )
    for entry in answer:
        entry.output = True
    finish_turn.write_turn_outcome(
        finish_turn.TurnOutcome(request_id, conversation_id, TurnStatus.COMPLETED, answer)
    )


if __name__ == "__main__":
    main()
