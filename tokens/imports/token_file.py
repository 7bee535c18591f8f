"""Import the token file that the settings name, each time it is requested.

GUEST_TOKENS_FILE is read for a provider in guest mode, USER_TOKENS_FILE or else TOKENS_FILE for one
in user mode. Such files hold the tokens of one provider, TOKENS_PROVIDER; no other provider ever
gets them. Known tokens stay as they are, and nothing is deleted.
"""

from pathlib import Path

from django.conf import settings

from providers.choices import Mode
from providers.models import Provider
from tokens.imports import import_batches, token_import


class NoTokenFile(Exception):
    """The provider has no readable token file; the message tells a person why."""


def find_token_file(provider: Provider) -> str:
    """Return the path of the provider's file in its present mode, or an empty string."""
    if provider.name != getattr(settings, "TOKENS_PROVIDER", ""):
        return ""
    if provider.mode == Mode.GUEST:
        return str(getattr(settings, "GUEST_TOKENS_FILE", ""))
    return str(getattr(settings, "USER_TOKENS_FILE", "") or getattr(settings, "TOKENS_FILE", ""))


def read_credentials_file(path: str) -> list[str]:
    """Return the lines of a file that a setting names; a relative path is in CREDENTIALS_FOLDER.

    Raises OSError, UnreadableFile.
    """
    return token_import.decode_text_file(Path(settings.CREDENTIALS_FOLDER, path).read_bytes())


def import_token_file(provider: Provider) -> token_import.ImportReport:
    """Import the new tokens of the provider's file. Raises NoTokenFile."""
    file = find_token_file(provider)
    if not file:
        raise NoTokenFile(f"No setting names a token file for {provider} in {provider.mode} mode.")
    try:
        lines = read_credentials_file(file)
    except OSError as error:
        raise NoTokenFile(f"Cannot read {file}: {error.strerror}.") from None
    except token_import.UnreadableFile as error:
        raise NoTokenFile(f"{file} holds no tokens: {error}") from None
    report, _ = import_batches.import_as_batch(provider, lines, source=Path(file).name)
    return report
