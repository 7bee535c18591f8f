"""The first run: tables, an administrator, the model `echo` and an API key.

After it the first request can be answered. `prepare_database` is idempotent. The secrets that it
returns are shown once and stored nowhere in clear.
"""

import secrets
from dataclasses import dataclass

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connection, transaction

from api import keys
from api.models import ApiKey
from providers.choices import Capability
from providers.models import ChatModel, Provider
from proxysite.first_run import import_environment, schema_check
from tokens import secret_check

# a Postgres advisory lock, so that processes that start together migrate one after the other
MIGRATION_LOCK = 0x70726F78
ADMINISTRATOR = "admin"


@dataclass(frozen=True, slots=True)
class FirstRun:
    """The things that a new home shows to its operator, once."""

    username: str
    password: str
    api_key: str


@dataclass(frozen=True, slots=True)
class PreparedDatabase:
    """The result of a start: what a new home shows once, if it is new.

    `import_lines` has a line for each credential of the programs that proxysite replaces that was
    imported or refused now.
    """

    first_run: FirstRun | None
    import_lines: tuple[str, ...] = ()


def migrate_database() -> None:
    """Bring the tables up to date; on Postgres one process at a time."""
    if connection.vendor != "postgresql":
        call_command("migrate", verbosity=0, interactive=False)
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [MIGRATION_LOCK])
        try:
            call_command("migrate", verbosity=0, interactive=False)
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [MIGRATION_LOCK])


def prepare_database() -> PreparedDatabase:
    """Bring the database up to date, write the first rows to a new one, import credentials.

    Raises SecretsDiffer, CommandError.
    """
    schema_check.require_known_migrations()
    migrate_database()
    schema_check.require_columns()
    secret_check.require_secrets()
    secret_check.enable_readable_tokens()
    with transaction.atomic():
        first_run = create_first_rows()
        import_lines = import_environment.import_credentials()
    return PreparedDatabase(first_run, tuple(import_lines))


def create_first_rows() -> FirstRun | None:
    """Write administrator, offline model and API key.

    Returns None when there is a user or an API key already.
    """
    users = get_user_model().objects
    if users.exists() or ApiKey.objects.exists():
        return None
    password = secrets.token_urlsafe(15)
    user = users.create_superuser(ADMINISTRATOR, password=password)
    provider, _ = Provider.objects.get_or_create(
        name="echo", defaults={"kind": "echo", "needs_token": False}
    )
    capabilities = [Capability.CHAT, Capability.COMPLETIONS, Capability.EMBEDDINGS]
    ChatModel.objects.get_or_create(
        public_id="echo",
        provider=provider,
        defaults={"upstream_name": "echo", "capabilities": capabilities},
    )
    _, key = keys.create_key(user, name="first key")
    return FirstRun(ADMINISTRATOR, password, key)
