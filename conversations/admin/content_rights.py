"""The right of staff to read the content of conversations, beside seeing that they exist."""

from django.http import HttpRequest

READ_PERMISSION = "conversations.read_content"


def may_read_content(request: HttpRequest) -> bool:
    """Return whether the user may read titles, messages and files of conversations."""
    return bool(request.user.has_perm(READ_PERMISSION))
