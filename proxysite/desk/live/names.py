"""The names of users and the prefixes of keys, for rows that only have their ids."""

from collections.abc import Sequence

from django.contrib.auth import get_user_model

from api.models import ApiKey
from providers.protocol.json_types import JsonObject

MOST_NAMES = 5_000  # names that are kept; beyond it all are read again


class NameDirectory:
    """Names that the board has looked up; a row that was deleted gets its number as its name."""

    def __init__(self) -> None:
        self._users: dict[int, str] = {}
        self._keys: dict[int, str] = {}

    def find_unknown(self, rows: Sequence[JsonObject]) -> tuple[set[int], set[int]]:
        """Return the ids of users and of keys in these rows whose names are not known yet."""
        users = {row["user_id"] for row in rows} - self._users.keys() - {None}
        keys = {row["key_id"] for row in rows} - self._keys.keys() - {None}
        return users, keys

    def add_names(self, names: tuple[dict[int, str], dict[int, str]]) -> None:
        """Add the names of users and keys that `read_names` has read."""
        if len(self._users) + len(self._keys) > MOST_NAMES:
            self._users.clear()
            self._keys.clear()
        self._users |= names[0]
        self._keys |= names[1]

    def name_row(self, row: JsonObject) -> JsonObject:
        """Return the row with `user` and `key`, the name and the prefix."""
        return {
            **row,
            "user": find_name(self._users, row["user_id"]),
            "key": find_name(self._keys, row["key_id"]),
        }


def find_name(names: dict[int, str], row_id: int | None) -> str:
    """Return the name of an id, "" without an id, or the number as long as it is not known."""
    if row_id is None:
        return ""
    return names.get(row_id, f"#{row_id}")


def read_names(users: set[int], keys: set[int]) -> tuple[dict[int, str], dict[int, str]]:
    """Return the names of these users and keys; for a database thread.

    An id without a row gets its number, so that it is not looked up again.
    """
    user_rows = get_user_model().objects.filter(pk__in=users).values_list("pk", "username")
    key_rows = ApiKey.objects.filter(pk__in=keys).values_list("pk", "prefix")
    unknown_users = {row_id: f"#{row_id}" for row_id in users}
    unknown_keys = {row_id: f"#{row_id}" for row_id in keys}
    return unknown_users | dict(user_rows), unknown_keys | dict(key_rows)
