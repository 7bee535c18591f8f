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
        scratch = Scratch(chosen.database)
        os.environ |= {
            "PROXYSITE_HOME": home,
            "DATABASE_URL": scratch.url,
            "DJANGO_SETTINGS_MODULE": "proxysite.settings",
        }
        try:
            run(chosen.items)
        finally:
            scratch.drop()


class Scratch:
    """A temporary database on a Postgres server.

    Without a server it is nothing: the SQLite database lives in the home.
    """

    def __init__(self, server: str) -> None:
        self._server, self._name = server, f"bench_{uuid.uuid4().hex[:8]}"
        self.url = ""
        if server:
            self._say(f'CREATE DATABASE "{self._name}"')
            self.url = urlunsplit(urlsplit(server)._replace(path=f"/{self._name}"))

    def drop(self) -> None:
        if self._server:
            self._say(f'DROP DATABASE IF EXISTS "{self._name}" WITH (FORCE)')

    def _say(self, statement: str) -> None:
        import psycopg

        with psycopg.connect(self._server, autocommit=True) as server:
            server.execute(statement.encode())


def run(items: int) -> None:
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connection

    call_command("migrate", verbosity=0)
    began = time.perf_counter()
    made = Made()
    made.fill(items)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE" if connection.vendor == "postgresql" else "ANALYZE")
    print(f"{items:,} items in {connection.vendor}, made in {time.perf_counter() - began:.0f} s\n")
    print("| milliseconds | p50 | p95 | worst |\n|---|---|---|---|")
    for name, times in measured(made):
        ordered = sorted(times)
        p95 = ordered[int(len(ordered) * 0.95)]
        print(f"| {name} | {ordered[len(ordered) // 2]:.1f} | {p95:.1f} | {ordered[-1]:.1f} |")


class Made:
    """The rows that this benchmark creates, and the facts about them that it needs later."""

    def __init__(self) -> None:
        from django.contrib.auth.models import User

        self.words = list(
            dict.fromkeys(
                "".join(random.choices(SYLLABLES, k=random.choice((2, 3, 3, 4))))
                for _ in range(WORDS)
            )
        )
        self.said = random.choices(
            self.words, [1 / (rank + 5) for rank in range(len(self.words))], k=1_000_000
        )
        self.users = [User.objects.create(username=f"user{number}").pk for number in range(USERS)]
        self.long = ""

    def text(self) -> str:
        count = min(400, int(random.lognormvariate(3.6, 0.9))) + 3
        at = random.randrange(len(self.said) - count)
        return " ".join(self.said[at : at + count]) + (" ordinary" if random.random() < 0.3 else "")

    def fill(self, items: int) -> None:
        left = items
        while left > 0:
            turns = LONG_TURNS if left == items else TURNS
            count = max(1, BATCH // (2 * turns)) if turns == TURNS else 1
            ids = self._conversations(count, turns)
            self.long = self.long or ids[0]
            left -= 2 * turns * count

    def _conversations(self, count: int, turns: int) -> list[str]:
        """Create conversations with that many turns each, and return their ids."""
        from django.db import transaction

        from conversations.models import Conversation, Item, Turn
        from conversations.search import item_search

        now = datetime.now(UTC)
        rows = [
            Conversation(user_id=random.choice(self.users), kind="open", last=turns)
            for _ in range(count)
        ]
        with transaction.atomic():
            Conversation.objects.bulk_create(rows)
            for row in rows:
                made = [
                    Turn(
                        conversation=row,
                        user_id=row.user_id,
                        number=number,
                        door="chat",
                        status="completed",
                        tokens=120,
                    )
                    for number in range(1, turns + 1)
                ]
                Turn.objects.bulk_create(made)
                said = [self._item(turn, output, now) for turn in made for output in (False, True)]
                item_search.add(row.user_id, Item.objects.bulk_create(said))
        return [row.pk for row in rows]

    def _item(self, turn: Any, output: bool, now: datetime) -> Any:
        from conversations.models import Item

        text = self.text()
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


def measured(made: Made) -> Iterator[tuple[str, list[float]]]:
    """Yield the name of each measure and its times in milliseconds."""
    from conversations.history import context
    from conversations.models import Conversation

    some = list(Conversation.objects.order_by("id")[:400])
    yield "recall of a conversation", times(lambda: context.read(random.choice(some), BUDGET), 300)
    fresh = Conversation.objects.create(user_id=made.users[0], kind="open")
    for _ in range(4):
        turn(fresh.user_id, fresh.pk, made.text())
    yield "a turn at the 10th message", times(lambda: turn(fresh.user_id, fresh.pk, made.text()), 1)
    yield "a turn up to the 300th", times(lambda: turn(fresh.user_id, fresh.pk, made.text()), 150)
    long = Conversation.objects.get(pk=made.long)
    yield "a turn after the 1,000th", times(lambda: turn(long.user_id, long.pk, made.text()), 150)
    questions: dict[str, Callable[[], str]] = {
        "search: a word as it is said": lambda: random.choice(made.said),
        "search: two such words": lambda: " ".join(random.choices(made.said, k=2)),
        "search: a rare word": lambda: random.choice(made.words[-WORDS // 2 :]),
        "search: a word in 30 % of the items": lambda: "ordinary",
        "search: words that nobody says": lambda: "qqqx zzzx",
    }
    for name, question in questions.items():
        yield name, times(partial(search_once, made, question), 200)


def search_once(made: Any, question: Callable[[], str]) -> None:
    """Search for the question's words among the items of a random user."""
    from conversations.search import item_search

    item_search.find(random.choice(made.users), question(), 20)


def times(deed: Callable[[], object], count: int) -> list[float]:
    found = []
    for _ in range(count):
        began = time.perf_counter()
        deed()
        found.append((time.perf_counter() - began) * 1000)
    return found


def turn(user_id: int, conversation_id: str, text: str) -> None:
    """Write one turn from its request to its end, without an upstream."""
    from conversations.history import finish_turn, start_turn
    from conversations.history.conversation_lookup import Asked
    from conversations.messages import items
    from conversations.models import Door, TurnStatus

    entries = items.of_messages([{"role": "user", "content": text}])
    request_id = uuid.uuid4().hex
    asked = Asked(
        request_id, user_id, Door.CHAT, "m", entries, conversation_id=conversation_id, budget=BUDGET
    )
    start_turn.begin(asked)
    answer: Sequence[Any] = items.of_messages([{"role": "assistant", "content": text}])
    for entry in answer:
        entry.output = True
    finish_turn.finish(
        finish_turn.Finished(request_id, conversation_id, TurnStatus.COMPLETED, answer)
    )


if __name__ == "__main__":
    main()
