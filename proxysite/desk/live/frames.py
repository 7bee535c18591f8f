"""Frames of the board: JSON texts of bounded size.

A snapshot has everything. A later frame has all running requests, but only new rows of the rest.
"""

from collections.abc import Iterable
from typing import Any

import orjson
from django.conf import settings

from providers.protocol.json_types import JsonObject

SNAPSHOT = "snapshot"
NEWS = "news"
LISTS = ("running", "finished", "changes", "breakers", "tasks")  # the lists of rows in a frame
POOL_LISTS = ("changes", "breakers", "tasks")  # for viewers who may see tokens


def encode_frame(frame: JsonObject, *, with_pool: bool) -> str:
    """Return the frame as JSON of at most LIVE_FRAME_BYTES.

    When it is longer, its longest lists are cut, and `cut` has the number of rows left out of each.
    `with_pool` is false for viewers who may not see tokens.
    """
    frame = {name: value for name, value in frame.items() if with_pool or name not in POOL_LISTS}
    frame["cut"] = {}
    data = orjson.dumps(frame)
    while len(data) > settings.LIVE_FRAME_BYTES and cut_longest_list(frame):
        data = orjson.dumps(frame)
    return data.decode()


def cut_longest_list(frame: dict[str, Any]) -> bool:
    """Leave out half of the longest list, its older rows; returns False when all are empty."""
    name = max(LISTS, key=lambda name: len(orjson.dumps(frame.get(name, ()))))
    rows = frame.get(name)
    if not rows:
        return False
    kept = rows[(len(rows) + 1) // 2 :]
    frame[name] = kept
    frame["cut"][name] = frame["cut"].get(name, 0) + len(rows) - len(kept)
    return True


def select_new(rows: Iterable[JsonObject], known: set[str]) -> list[JsonObject]:
    """Return the rows whose `pk` is not known yet, and replace `known` by their keys."""
    listed = list(rows)
    new = [row for row in listed if row["pk"] not in known]
    known.clear()
    known.update(row["pk"] for row in listed)
    return new
