"""An empty folder of files."""

import pytest

from conversations.files import file_storage


@pytest.fixture(autouse=True)
def _empty_folder():
    """Delete all files."""
    for path in file_storage.find_files_folder().iterdir():
        path.unlink()
