"""The versions of the topics that triggers count."""

from typing import Any

from django.db import connection

from providers.models import Revision, Tombstone


def version(topic: str) -> int:
    """Return the version of a topic."""
    return Revision.objects.filter(topic=topic).values_list("version", flat=True).first() or 0


def floor(topic: str) -> int:
    """Return the floor of a topic."""
    return Revision.objects.filter(topic=topic).values_list("floor", flat=True).first() or 0


class Bumped:
    """A block that notes in `topics` which topics were raised in it."""

    def __enter__(self) -> "Bumped":
        self.before = dict(Revision.objects.values_list("topic", "version"))
        return self

    def __exit__(self, *exc: object) -> None:
        now = dict(Revision.objects.values_list("topic", "version"))
        self.topics = {topic for topic, number in now.items() if number > self.before.get(topic, 0)}
        assert all(now.get(topic, 0) >= number for topic, number in self.before.items()), (
            "a version went back"
        )


def find_tombstones(topic: str, seen: int) -> set[str]:
    """Return the ids of the rows deleted after version `seen`."""
    tombstones = Tombstone.objects.filter(
        topic=topic, version__gt=seen, version__lte=version(topic)
    )
    return set(tombstones.values_list("row_id", flat=True))


def list_ids(*rows: Any) -> set[str]:
    """Return the ids of rows as the database writes them."""
    return {
        str(row.pk) if connection.vendor == "postgresql" or isinstance(row.pk, int) else row.pk.hex
        for row in rows
    }
