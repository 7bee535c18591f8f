"""System checks of this app's names in rows (run by `serve`, which may query the database)."""

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Error, Tags, register
from django.db import DatabaseError

from conversations import strategies
from providers.models import VirtualModel


@register(Tags.database)
def strategies_exist(*, databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """conversations.E001: a model names a strategy that no file defines."""
    if not databases:
        return []
    try:
        wrong = list(VirtualModel.objects.exclude(strategy__in=strategies.names()))
    except DatabaseError:
        return []  # not migrated yet
    return [
        Error(
            f"The model {model.public_id!r} names the strategy {model.strategy!r}, which does not exist.",
            hint=f"There are: {', '.join(strategies.names())}.",
            id="conversations.E001",
        )
        for model in wrong
    ]
