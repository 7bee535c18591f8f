"""`export_conversations`: write all conversations of a user as JSON lines or Markdown."""

from argparse import ArgumentParser
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from conversations.models import Conversation
from conversations.stored import conversation_export
from providers.management.base import GatewayCommand
from providers.management.command_helpers import find_user


class Command(GatewayCommand):
    help = "Export a user's conversations; the file can be read by nobody else."
    writes = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("user", help="name of the user")
        parser.add_argument(
            "--format", choices=sorted(conversation_export.EXPORT_FORMATS), default="jsonl"
        )
        parser.add_argument(
            "--output",
            default="-",
            help="path of a file that does not exist yet; - for standard output",
        )

    def handle(self, *args: Any, user: str, output: str, **options: Any) -> None:
        owner = find_user(user)
        pieces = conversation_export.render_export(
            Conversation.objects.of_user(owner.pk),
            conversation_export.EXPORT_FORMATS[options["format"]],
        )
        if output == "-":
            for piece in pieces:
                self.stdout.write(piece.decode(), ending="")
            return
        try:
            write_private_file(Path(output), pieces)
        except OSError as error:
            raise CommandError(f"Cannot write {output}: {error.strerror}.") from None


def write_private_file(path: Path, pieces: Iterable[bytes]) -> None:
    """Write a new file that only its owner can read. Raises OSError."""
    path.touch(mode=0o600, exist_ok=False)
    with path.open("wb") as file:
        for piece in pieces:
            file.write(piece)
