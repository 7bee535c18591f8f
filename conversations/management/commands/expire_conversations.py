"""`expire_conversations`: delete expired conversations and documents, as the worker does hourly."""

from argparse import ArgumentParser
from typing import Any

from conversations import retention
from conversations.models import Conversation, Document
from providers.management.base import GatewayCommand


class Command(GatewayCommand):
    help = "Delete conversations and documents that have expired, with all that is theirs."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="say how many, delete nothing")

    def handle(self, *args: Any, dry_run: bool, **options: Any) -> None:
        if dry_run:
            found = Conversation.objects.expired().count(), Document.objects.expired().count()
        else:
            found = retention.delete_all_expired()
        conversations, documents = found
        verb = "would be deleted" if dry_run else "deleted"
        self.stdout.write(f"{conversations} conversations and {documents} documents {verb}.")
