"""A text that is long enough to be divided, and the ways it comes to be taken in."""

from datetime import timedelta

from django.utils import timezone

from conversations.documents import ingest
from conversations.documents.index_worker import Splitting
from conversations.files import file_storage
from conversations.models import Document
from providers.database.database_threads import run_in_thread

TEXT = "".join(f"Chapter {n}. The keeper of lamp {n} is called Ada{n}.\n\n" for n in range(200))
BYTES = TEXT.encode()


def taking(person, text=TEXT, splitting=None):
    return ingest.ingest_text(person.user.pk, text, splitting or Splitting())


def stored(person, data=BYTES, name="lamps.txt"):
    return file_storage.store_file(
        person.user.pk, file_storage.Upload(name, "", "user_data", [data])
    )


def state(**fields):
    return run_in_thread(lambda: Document.objects.get(**fields))


def at(number):
    return timezone.now() + timedelta(seconds=number)
