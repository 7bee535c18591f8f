"""Write files that are complete and survive a power cut."""

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path


def write_durable_file(path: Path, pieces: Iterable[bytes], *, overwrite: bool = True) -> None:
    """Write a file completely or not at all; it is on disk when this returns.

    Its mode is 0600. The pieces are written to a draft in the same directory, `.<name>.<random>`,
    which is renamed when all of it is on disk. A process that is killed meanwhile leaves the draft
    behind.

    Raises OSError; FileExistsError when the file exists and `overwrite` is false; and any error
    that `pieces` raises. The draft is deleted then.
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
    except BaseException:  # whatever ends the write, also an error of `pieces`
        Path(draft).unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Write a directory's entries to disk, so that the names of new files in it are safe.

    Raises OSError.
    """
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
