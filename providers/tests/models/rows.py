"""Rows that are not saved yet, and what validation finds wrong with one."""

from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Model

from providers.models import Provider


def make_provider(**fields: Any) -> Provider:
    return Provider(
        **{
            "name": "moonshot",
            "kind": "openai_compatible",
            "base_url": "https://api.example.com/v1",
        }
        | fields
    )


def find_problem_fields(row: Model) -> set[str]:
    """Return the names of the fields that are not valid."""
    try:
        row.full_clean()
    except ValidationError as error:
        return set(error.message_dict)
    return set()
