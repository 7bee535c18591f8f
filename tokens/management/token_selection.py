"""The options with which a person chooses tokens on the command line, as in the admin's list."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from providers.management.command_helpers import find_provider
from tokens.models import Kind, UpstreamToken
from tokens.querysets import TokenQuerySet
from tokens.token_filter import (
    FILTER_OF_STATE,
    OTHER_GROUP,
    PREFIX_BY_GROUP,
    UnknownFilter,
    apply_filters,
    exclude_deleted,
)

AGES = ("hour", "day", "week", "older")
CHECKS = ("never", "hour", "day", "older", "works", "failed")


def add_selection_arguments(parser: ArgumentParser) -> None:
    """Add the options that choose tokens; all that are given must fit."""
    parser.add_argument("--state", choices=list(FILTER_OF_STATE), help="only tokens in this state")
    parser.add_argument(
        "--reason",
        choices=[*PREFIX_BY_GROUP, OTHER_GROUP],
        help="only tokens whose state has a reason of this group",
    )
    parser.add_argument("--imported", choices=AGES, help="only tokens imported in that time")
    parser.add_argument("--checked", choices=CHECKS, help="only tokens by their last check")
    parser.add_argument("--kind", choices=Kind.values, help="only credentials of this kind")
    parser.add_argument(
        "--find",
        metavar="TEXT",
        help="an id, the last four characters, or the beginning of a masked token or a label",
    )


def select_tokens(provider: str | None, options: dict[str, Any]) -> TokenQuerySet:
    """Return the tokens that the options choose. Raises CommandError."""
    query = {
        "is": options["state"],
        "reason": options["reason"],
        "age": options["imported"],
        "check": options["checked"],
        "kind": options["kind"],
        "q": options["find"],
    }
    if provider is not None:
        query["provider__id__exact"] = str(find_provider(provider).pk)
    chosen = {name: word for name, word in query.items() if word}
    try:
        return apply_filters(exclude_deleted(UpstreamToken.objects.all()), chosen)
    except UnknownFilter as error:
        raise CommandError(f"Unknown filter: {error}.") from None
