"""`expire_conversations`: delete expired conversations and documents, as the worker does hourly."""

from argparse import ArgumentParser
from typing import Any

from conversations import retention
from conversations.models import Conversation, Document
from providers.management.base import GatewayCommand


class Command(GatewayCommand):
    help = "Delete conversations and documents that have expired, with their contents."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="count them, delete nothing")

    def handle(self, *args: Any, dry_run: bool, **options: Any) -> None:
        if dry_run:
            conversation_count = Conversation.objects.filter_expired().count()
            document_count = Document.objects.filter_expired().count()
            verb = "would be deleted"
        else:
            conversation_count, document_count = retention.delete_all_expired()
            verb = "deleted"
        self.stdout.write(
            f"{conversation_count} conversations and {document_count} documents {verb}."
        )
