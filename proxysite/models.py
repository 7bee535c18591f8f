"""The models of the desk itself: the audit log, and who is logged in."""

from proxysite.access.login_session import LoginSession
from proxysite.audit.audit_entry import AuditAction, AuditEntry
from proxysite.people.role import Role

__all__ = ["AuditAction", "AuditEntry", "LoginSession", "Role"]
