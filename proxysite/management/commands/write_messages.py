"""Collect the texts of pages for translation, and compile the translations."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test.utils import override_settings

from providers.management.base import GatewayCommand
from proxysite.desk.model_texts import list_model_texts

LANGUAGE = "zh_Hans"
CATALOGUE = Path("LC_MESSAGES", "django.po")
METADATA = {
    "Language": LANGUAGE,
    "MIME-Version": "1.0",
    "Content-Type": "text/plain; charset=UTF-8",
    "Content-Transfer-Encoding": "8bit",
    "Plural-Forms": "nplurals=1; plural=0;",
}
IGNORED = [".venv", "var", "*/tests/*", "*/migrations/*", "benchmarks", "proxysite/testing"]


class Command(GatewayCommand):
    help = (
        "Collect the texts of pages into proxysite/locale/, and compile the translations. "
        "Needs GNU gettext and the packages of the tests."
    )
    requires_system_checks: list[str] = []
    needs_database = False
    writes = False

    def handle(self, *args: Any, **options: Any) -> str:
        locale = settings.LOCALE_PATHS[0]
        write_catalogue(locale)
        missing = find_missing_texts(locale)
        compile_catalogue(locale)
        return f"{len(missing)} texts are not translated into {LANGUAGE}."


def write_catalogue(locale: Path) -> None:
    """Write the catalogue of `LANGUAGE` in the directory `locale`; translations in it stay.

    Raises CommandError when GNU gettext is not installed.
    """
    locale.mkdir(parents=True, exist_ok=True)
    with write_model_texts(), override_settings(LOCALE_PATHS=[str(locale)]):
        call_command(
            "makemessages",
            locale=[LANGUAGE],
            extensions=["html", "py", "txt"],
            ignore_patterns=[*IGNORED, "proxysite/locale"],
            no_location=True,
            no_obsolete=True,
            verbosity=0,
        )


@contextmanager
def write_model_texts() -> Iterator[None]:
    """Write the texts of models into a module that gettext finds, while the context lasts."""
    calls = "".join(f"gettext_noop({text!r})\n" for text in list_model_texts())
    with tempfile.NamedTemporaryFile(
        "w", dir=settings.BASE_DIR / "proxysite", prefix="model_texts_", suffix=".py"
    ) as file:
        file.write(calls)
        file.flush()
        yield


def read_catalogue(locale: Path) -> Any:
    """Return the catalogue as polib has it. Raises CommandError when polib is not installed."""
    try:
        import polib
    except ImportError:
        raise CommandError("polib is not installed: make .venv/.development installs it.") from None
    return polib.pofile(str(locale / LANGUAGE / CATALOGUE))


def find_missing_texts(locale: Path) -> list[str]:
    """Return the texts of the catalogue that have no translation, or only a guessed one."""
    return [entry.msgid for entry in read_catalogue(locale) if not entry.translated()]


def compile_catalogue(locale: Path) -> None:
    """Write the compiled form, which pages read, beside the catalogue.

    The catalogue itself loses its dates, so that it changes with its texts alone.
    """
    catalogue = read_catalogue(locale)
    catalogue.header = "Chinese texts of the pages; written by `make messages`."
    catalogue.metadata = METADATA
    catalogue.metadata_is_fuzzy = False
    catalogue.sort(key=lambda entry: entry.msgid)
    catalogue.save()
    catalogue.save_as_mofile(str((locale / LANGUAGE / CATALOGUE).with_suffix(".mo")))
