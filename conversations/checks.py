"""System checks of virtual models; `serve` runs them, as they may query the database."""

from collections.abc import Iterator, Sequence

import msgspec
from django.core.checks import CheckMessage, Error, Tags, register
from django.db import DatabaseError

from conversations import strategies
from conversations.profiles import profile_reader
from providers.models import VirtualModel


@register(Tags.database)
def check_virtual_models(
    *, databases: Sequence[str] | None = None, **kwargs: object
) -> list[CheckMessage]:
    """Check that each virtual model names a strategy that exists, with usable options.

    conversations.E001: no module defines the strategy. conversations.E002: the options cannot be
    used.
    """
    if not databases:
        return []
    try:
        return [
            problem
            for model in VirtualModel.objects.all()
            for problem in list_model_problems(model)
        ]
    except DatabaseError:
        return []  # not migrated yet


def list_model_problems(model: VirtualModel) -> Iterator[CheckMessage]:
    if model.strategy not in strategies.list_strategies():
        yield Error(
            f"The model {model.public_id!r} names the strategy {model.strategy!r}, which does "
            "not exist.",
            hint=f"There are: {', '.join(strategies.list_strategies())}.",
            id="conversations.E001",
        )
    elif model.strategy in profile_reader.OPTIONS_BY_STRATEGY:
        try:
            msgspec.convert(model.options, profile_reader.OPTIONS_BY_STRATEGY[model.strategy])
        except msgspec.ValidationError as error:
            text = f"The options of the model {model.public_id!r} cannot be used: {error}."
            yield Error(text, id="conversations.E002")
