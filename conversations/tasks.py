"""Periodic work on what users left here."""

from celery import shared_task

from conversations import files


@shared_task
def sweep_files() -> None:
    """Delete bytes that belong to no file any more."""
    files.sweep()
