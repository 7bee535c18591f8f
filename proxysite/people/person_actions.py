"""Block users, let them in again, and end their sessions."""

from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _

from providers.admin.big_tables import record_in_history
from proxysite.access.login_session import end_sessions_of_user


def block_users(request: HttpRequest, users: QuerySet[User]) -> int:
    """Block these users but not oneself; return how many were not blocked before.

    Their API keys are refused within a second, their sessions end, and nothing is deleted.
    """
    rows = users.filter(is_active=True).exclude(pk=request.user.pk or 0)
    ids = list(rows.values_list("pk", flat=True))
    record_in_history(request, rows, _("Blocked."))
    count = User.objects.filter(pk__in=ids).update(is_active=False)
    for pk in ids:
        end_sessions_of_user(pk)
    return count


def unblock_users(request: HttpRequest, users: QuerySet[User]) -> int:
    """Let these users in again; return how many were blocked."""
    rows = users.filter(is_active=False)
    ids = list(rows.values_list("pk", flat=True))
    record_in_history(request, rows, _("Unblocked."))
    return User.objects.filter(pk__in=ids).update(is_active=True)


def end_sessions(request: HttpRequest, users: QuerySet[User]) -> int:
    """End all sessions of these users, and return how many there were."""
    record_in_history(request, users, _("Logged out everywhere."))
    return sum(end_sessions_of_user(pk) for pk in users.values_list("pk", flat=True))
