"""Delete entries of the audit log that are older than AUDIT_DAYS."""

from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from proxysite.audit.audit_entry import AuditEntry

SLICE_ROWS = 5_000


def delete_old_entries() -> int:
    """Delete old entries in slices and return how many; AUDIT_DAYS of 0 keeps them for ever."""
    if settings.AUDIT_DAYS == 0:
        return 0
    before = timezone.now() - timedelta(days=settings.AUDIT_DAYS)
    count = 0
    while ids := list(
        AuditEntry.objects.filter(at__lt=before)
        .order_by("pk")
        .values_list("pk", flat=True)[:SLICE_ROWS]
    ):
        count += AuditEntry.objects.filter(pk__in=ids).delete()[0]
    return count
