"""The queue of tasks when there is no broker: a folder of files with one message each.

It replaces kombu's own, which writes a message in place: a worker that reads half of one ends. Here
a message appears under its name when it is complete, and one that cannot be read is moved aside
(`*.broken`).

Messages are not forced to disk as in `providers/durable_files.py`: work that is lost in a power cut
is ordered again, by the next periodic run or by the person who asked for it.
"""

import logging
import os
import uuid
from pathlib import Path
from queue import Empty
from time import time_ns
from typing import Any

from kombu.exceptions import ChannelError
from kombu.transport import filesystem
from kombu.utils.json import dumps, loads

from providers.protocol.json_types import JsonObject

logger = logging.getLogger(__name__)


class Channel(filesystem.Channel):
    # the stubs disagree with kombu
    def _put(self, queue: str, payload: Any, **kwargs: Any) -> None:  # type: ignore[override]
        """Write a message to the queue.

        Names sort by time. An unfinished file has another ending. Raises ChannelError.
        """
        name = f"{time_ns()}_{uuid.uuid4()}.{queue}.msg"
        file = Path(self.data_folder_out, name)
        draft = file.with_name(f"{name}.draft")
        try:
            draft.write_text(dumps(payload), encoding="utf-8")
            os.replace(draft, file)
        except OSError as error:
            raise ChannelError(f"Cannot write a message to {self.data_folder_out}.") from error

    def _get(self, queue: str, timeout: float | None = None) -> Any:
        """Take the oldest message out of the queue. Raises Empty."""
        for name in sorted(os.listdir(self.data_folder_in)):
            if name.partition(".")[2] != f"{queue}.msg":
                continue
            file = Path(self.data_folder_in, name)
            claimed_file = file.with_name(f"{name}.taken")
            try:
                os.replace(file, claimed_file)  # one worker succeeds, and has the message
            except FileNotFoundError:
                continue
            message = read_message(claimed_file)
            if message is not None:
                claimed_file.unlink()
                return message
            os.replace(claimed_file, file.with_name(f"{name}.broken"))
            logger.error("A task's message cannot be read and is left out: %s.broken", name)
        raise Empty

    def _queue_bind(
        self, exchange: str, routing_key: str | None, pattern: str | None, queue: str | None
    ) -> None:
        """Note the queue; an earlier note that cannot be read is written anew."""
        binding = exchange, routing_key or "", pattern or "", queue or ""
        try:
            super()._queue_bind(*binding)
        except ValueError:
            Path(self.control_folder, f"{exchange}.exchange").unlink(missing_ok=True)
            super()._queue_bind(*binding)


class Transport(filesystem.Transport):
    Channel = Channel


def read_message(file: Path) -> JsonObject | None:
    """Return the message in this file; None when it has none."""
    try:
        message = loads(file.read_text(encoding="utf-8"))
    except ValueError:
        return None
    return message if isinstance(message, dict) else None
