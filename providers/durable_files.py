"""Write files that are whole and still there after a power cut."""

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path


def write_durable_file(path: Path, pieces: Iterable[bytes], *, overwrite: bool = True) -> None:
    """Write a file whole or not at all; it is on disk when this returns. Its mode is 0600.

    The pieces are written to a draft beside it, `.<name>.<random>`, which gets the file's name
    when all of it is on disk. A process that is killed meanwhile leaves the draft.

    Raises OSError; FileExistsError when the file exists and `overwrite` is false; and what
    `pieces` raises. The draft is deleted then.
    """
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(descriptor, "wb") as file:
            file.writelines(pieces)
            file.flush()
            os.fsync(file.fileno())
        if overwrite:
            os.replace(draft, path)
        else:
            os.link(draft, path)
            os.unlink(draft)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Write a directory's entries to disk: the names of files that are new in it. Raises
    OSError.
    """
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
