"""The models of the desk itself: the audit log, who is logged in, and the backups."""

from proxysite.access.login_session import LoginSession
from proxysite.audit.audit_entry import AuditAction, AuditEntry
from proxysite.backup.backup_run import BackupRun
from proxysite.people.role import Role

__all__ = ["AuditAction", "AuditEntry", "BackupRun", "LoginSession", "Role"]
