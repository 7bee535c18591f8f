"""Keep the text of an import sealed in the database between its check and the import itself.

It lies in pieces, and is deleted when it is imported, discarded or older than IMPORT_TEXT_SECONDS.
"""

from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from providers.vault import VaultError
from tokens.exports.encrypted_bundle import decrypt_bundle, is_bundle
from tokens.imports.batch_model import ImportBatch, ImportText
from tokens.imports.text_decoding import decode_text_file

PIECE_CHARS = 512 * 2**10


class ImportRefused(Exception):
    """The text cannot be imported as a whole; the message says why to a person."""


class TextGone(Exception):
    """The text of an import was deleted, or cannot be opened any more."""


def read_upload(data: bytes, passphrase: str = "") -> list[str]:
    """Return the lines of a file that somebody brought, opened if it is an encrypted export.

    Raises ImportRefused, UnreadableFile, BundleError.
    """
    if len(data) > settings.IMPORT_BYTES:
        raise ImportRefused(
            _("The file is larger than %(limit)d MiB (setting IMPORT_BYTES): split it.")
            % {"limit": settings.IMPORT_BYTES // 2**20}
        )
    lines = decode_text_file(data)
    if is_bundle(lines):
        lines = decrypt_bundle(lines, passphrase).splitlines()
    if len(lines) > settings.IMPORT_LINES:
        raise ImportRefused(
            _("The file has %(count)d lines, and %(limit)d are allowed (setting IMPORT_LINES).")
            % {"count": len(lines), "limit": settings.IMPORT_LINES}
        )
    if not any(line.strip() for line in lines):
        raise ImportRefused(_("There is nothing in it: every line is blank."))
    return lines


@transaction.atomic
def store_text(batch: ImportBatch, lines: list[str]) -> None:
    """Seal the lines into rows of the batch, and write when they end."""
    text = "\n".join(lines).encode("utf-8", "replace").decode()
    starts = range(0, len(text), PIECE_CHARS)
    pieces = [ImportText(batch=batch, number=number) for number in range(len(starts))]
    for piece, start in zip(pieces, starts, strict=True):
        piece.seal_text(text[start : start + PIECE_CHARS])
    ImportText.objects.bulk_create(pieces)
    batch.text_expires_at = timezone.now() + timedelta(seconds=settings.IMPORT_TEXT_SECONDS)
    batch.save(update_fields=["text_expires_at"])


def read_text(batch: ImportBatch) -> list[str]:
    """Return the lines of the batch. Raises TextGone."""
    try:
        text = "".join(piece.unseal_text() for piece in batch.texts.all())
    except VaultError as error:
        raise TextGone from error
    if not text:
        raise TextGone
    return text.split("\n")


def delete_text(batch: ImportBatch) -> None:
    """Delete the sealed text of a batch."""
    batch.texts.all().delete()
    ImportBatch.objects.filter(pk=batch.pk).update(text_expires_at=None)
