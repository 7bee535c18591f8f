"""Record the commands that change something."""

from collections.abc import Callable, Mapping

from django.core.management.base import BaseCommand

from providers.management.base import GatewayCommand
from proxysite.audit.actor import act_as_command
from proxysite.audit.field_values import CREDENTIALS_IN_URL, SECRET_TEXT, is_secret

# commands of Django and of its packages that change people or their logins
RECORDED_COMMANDS = frozenset(
    "changepassword createsuperuser axes_reset axes_reset_ip axes_reset_username "
    "axes_reset_ip_username axes_reset_failure_logs axes_reset_logs".split()
)
# they only make a gateway, a document or a copy
UNRECORDED_COMMANDS = frozenset(
    "serve run_batches copy_database restore conformance write_docs".split()
)
# options of Django's own, and what may hold a secret
UNTOLD_OPTIONS = frozenset(
    "verbosity settings pythonpath traceback no_color force_color skip_checks stdout stderr "
    "dry_run interactive database".split()
)
SECRET_OPTIONS = frozenset("key token tokens webhook proxy url proxy_url".split())


def is_recorded(name: str, command: BaseCommand, options: Mapping[str, object]) -> bool:
    """Return whether a run of this command belongs in the audit log."""
    if options.get("dry_run") or name in UNRECORDED_COMMANDS:
        return False
    if name in RECORDED_COMMANDS:
        return True
    return isinstance(command, GatewayCommand) and command.writes


def run_and_record(
    name: str, execute: Callable[..., str | None], /, *args: object, **options: object
) -> str | None:
    """Run a command as the actor “command line”, and write that it ran."""
    with act_as_command(name) as actor:
        answer = execute(*args, **options)
        from proxysite.audit.audit_entry import AuditAction
        from proxysite.audit.recording import build_entry

        message = " ".join((name, *args_as_text(args), *options_as_text(options)))
        build_entry(actor, AuditAction.COMMAND, message=message).save()
    return answer


def args_as_text(args: tuple[object, ...]) -> list[str]:
    return [CREDENTIALS_IN_URL.sub("…@", str(value)) for value in args]


def options_as_text(options: Mapping[str, object]) -> list[str]:
    """Return the given options as `name=value`, without secrets and without those left out."""
    texts = []
    for name, value in options.items():
        if name in UNTOLD_OPTIONS or value in (None, False, "", [], ()):
            continue
        if name in SECRET_OPTIONS or is_secret(name):
            texts.append(f"{name}={SECRET_TEXT}")
        elif value is True:
            texts.append(name)
        else:
            listed = value if isinstance(value, list | tuple) else (value,)
            text = " ".join(map(str, listed))
            texts.append(f"{name}={CREDENTIALS_IN_URL.sub('…@', text)}")
    return texts
