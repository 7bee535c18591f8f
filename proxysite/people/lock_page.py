"""The page of lock-outs: which logins are refused now, with a button that lifts each."""

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.validators import validate_ipv46_address
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from proxysite.access.lockouts import KINDS, lift_lock, list_locks
from proxysite.audit.audit_entry import AuditAction
from proxysite.audit.recording import record_deed

VIEW_PERMISSION = "axes.view_accessattempt"
LIFT_PERMISSION = "axes.delete_accessattempt"


@admin.site.admin_view
def show_locks(request: HttpRequest) -> HttpResponse:
    if not request.user.has_perm(VIEW_PERMISSION):
        raise PermissionDenied
    context = {
        **admin.site.each_context(request),
        "title": _("Lock-outs"),
        "locks": list_locks(),
        "may_lift": request.user.has_perm(LIFT_PERMISSION),
    }
    return TemplateResponse(request, "admin/system/locks.html", context)


@admin.site.admin_view
@require_POST
def lift_one_lock(request: HttpRequest) -> HttpResponse:
    """Lift one lock, and note it in the audit log."""
    if not request.user.has_perm(LIFT_PERMISSION):
        raise PermissionDenied
    kind = request.POST.get("kind", "")
    name = request.POST.get("name", "")
    address = request.POST.get("address", "")
    if kind in KINDS and is_address(address, may_be_empty=kind == "name"):
        lift_lock(kind, name, address)
        subject = " ".join(filter(None, (name, address)))
        record_deed(AuditAction.DONE, message=_("Lock-out lifted."), object_name=subject)
        messages.success(request, _("%(subject)s may log in again.") % {"subject": subject})
    return HttpResponseRedirect(reverse("system-locks"))


def is_address(text: str, *, may_be_empty: bool) -> bool:
    if not text:
        return may_be_empty
    try:
        validate_ipv46_address(text)
    except ValidationError:
        return False
    return True
