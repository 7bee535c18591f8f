"""How tests run management commands: as typed, with what they print; and what they say of a
mistake.
"""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command


def run(*words: str, notes: StringIO | None = None) -> str:
    """Run a command as a person would type it; returns its output. What it says beside that goes to
    `notes`.
    """
    output = StringIO()
    call_command(*words, stdout=output, stderr=notes or StringIO())
    return output.getvalue()


def refused(*words: str) -> str:
    """The one line that a mistaken command says before it exits with 1."""
    with pytest.raises(CommandError) as caught:
        call_command(*words, stdout=StringIO())
    assert caught.value.returncode == 1
    assert "\n" not in str(caught.value)
    return str(caught.value)
