"""The shared parts of commands: rows that they name, a person's mistakes in one line, tables."""

from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.core.management.base import CommandError, OutputWrapper

from providers.models import ChatModel, Provider
from providers.presets import PRESETS, Preset
from providers.seed_presets import find_known_fields


def find_provider(name: str) -> Provider:
    """Return the provider of this name. Raises CommandError, which lists the existing ones."""
    provider = Provider.objects.filter(name=name).first()
    if provider is None:
        names = ", ".join(Provider.objects.order_by("name").values_list("name", flat=True))
        raise CommandError(f"There is no provider {name!r}; there are: {names or 'none'}.")
    return provider


def find_preset(name: str) -> Preset:
    """Return the preset of this name. Raises CommandError, which lists the existing ones."""
    if name not in PRESETS:
        raise CommandError(f"No such preset: {name}; there are: {', '.join(PRESETS)}.")
    return PRESETS[name]


def find_or_make_model(provider: Provider, public_id: str, upstream_name: str = "") -> ChatModel:
    """Return the provider's model with this public id, or a new one; neither is saved.

    It has the upstream name that is given. A new one has what presets know of the model. Without a
    name from there it is called at the upstream what callers call it.
    """
    row = provider.models.filter(public_id=public_id).first()
    if row is None:
        known_fields = find_known_fields(provider, public_id, upstream_name)
        row = ChatModel(provider=provider, public_id=public_id, **known_fields)
    row.upstream_name = upstream_name or row.upstream_name or public_id
    return row


def describe_outcome(*, is_new: bool, dry_run: bool) -> str:
    """Return in words what a command did to a row, or would do."""
    outcome = "changed"
    if is_new:
        outcome = "added"
    if dry_run:
        outcome = f"would be {outcome}"
    return outcome


def find_user(name: str) -> User:
    """Return the user of this name. Raises CommandError."""
    user: User | None = get_user_model().objects.filter(username=name).first()
    if user is None:
        raise CommandError(f"There is no user {name!r}.")
    return user


def describe_validation_error(error: ValidationError) -> str:
    """Return the error as one line: each text after its field, as in `name: Too long.`."""
    texts = []
    for field, errors in error.update_error_dict({}).items():
        text = " ".join(ValidationError(errors).messages)
        if field != NON_FIELD_ERRORS:
            text = f"{field}: {text}"
        texts.append(text)
    return "; ".join(texts)


def write_table(output: OutputWrapper, lines: list[tuple[str, ...]]) -> None:
    """Write lines of cells in columns of the same width."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for cells in lines:
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        output.write("  ".join(padded).rstrip())
