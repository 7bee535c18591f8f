"""How commands find rows and describe mistakes."""

import pytest
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError

from providers.management.command_helpers import describe_validation_error, find_provider, find_user
from providers.models import Provider


@pytest.mark.django_db
def test_a_name_that_is_not_there_is_answered_with_those_there_are() -> None:
    with pytest.raises(CommandError, match="There is no provider 'b'; there are: none"):
        find_provider("b")
    row = Provider.objects.create(name="c", kind="echo")
    Provider.objects.create(name="a", kind="echo")
    with pytest.raises(CommandError, match="There is no provider 'b'; there are: a, c"):
        find_provider("b")
    assert find_provider("c") == row
    with pytest.raises(CommandError, match="There is no user 'b'"):
        find_user("b")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValidationError("Too long."), "Too long."),
        (ValidationError(["One.", "Two."]), "One. Two."),
        (ValidationError({"name": ["One.", "Two."], "kind": "No."}), "name: One. Two.; kind: No."),
        (ValidationError({"kind": "No.", "__all__": "Both."}), "kind: No.; Both."),
    ],
)
def test_every_validation_error_is_one_line(error: ValidationError, text: str) -> None:
    assert describe_validation_error(error) == text
