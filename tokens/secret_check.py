"""Check that this process's secrets are those that the database was written with.

The first process on a database writes a check value for each secret: a text sealed with FIELD_KEYS,
and a digest made with KEY_PEPPER. Every later process compares them with its own secrets and
refuses to start if they differ: nobody else could open the secrets that it seals, and it would know
no API key. A database older than the check values is judged by its tokens. SECRET_KEY is not
compared: another one only ends sessions.
"""

import logging

from django.core.management.base import CommandError
from django.db import transaction

from providers import vault
from tokens.models import SecretCheck, UpstreamToken
from tokens.querysets import TokenQuerySet

logger = logging.getLogger(__name__)

CHECKED_TEXT = "proxysite"
SAMPLE_SIZE = 10  # the oldest tokens judge a database without check values
FIELD_KEYS = "FIELD_KEYS"
KEY_PEPPER = "KEY_PEPPER"


class SecretsDiffer(CommandError):
    """The secrets differ; the text says which, and where to copy them from."""

    def __init__(self, names: list[str]) -> None:
        pronoun = "it" if len(names) == 1 else "them"
        super().__init__(
            f"This database was written with another {' and '.join(names)}. Copy {pronoun} from "
            "the machine that uses it: from its environment, or from secrets.env in its "
            "PROXYSITE_HOME."
        )


def require_secrets() -> None:
    """Raise SecretsDiffer unless FIELD_KEYS and KEY_PEPPER are the database's.

    Writes the check values that a new database lacks.
    """
    values = read_check_values()
    if values.keys() < {FIELD_KEYS, KEY_PEPPER}:
        refuse_wrong_secrets(find_wrong_secrets())
        values = create_check_values()
    refuse_wrong_secrets(list_wrong_names(values))
    renew_check_value(values[FIELD_KEYS])


def require_secrets_unchanged() -> None:
    """Raise SecretsDiffer when the check values are those of other secrets. Writes nothing."""
    refuse_wrong_secrets(list_wrong_names(read_check_values()))


def read_check_values() -> dict[str, str]:
    return dict(SecretCheck.objects.values_list("name", "value"))


def list_wrong_names(values: dict[str, str]) -> list[str]:
    """Return the names of the check values that do not fit the secrets of this process."""
    return [name for name, value in values.items() if not fits_own_secrets(name, value)]


def refuse_wrong_secrets(names: list[str]) -> None:
    """Raise SecretsDiffer if there are any names of wrong secrets."""
    if names:
        raise SecretsDiffer(sorted(names))


def create_check_values() -> dict[str, str]:
    """Write the check values, unless another process was faster; return those in the database."""
    new = {
        FIELD_KEYS: vault.encrypt_secret(CHECKED_TEXT, name_check_owner(FIELD_KEYS)),
        KEY_PEPPER: digest_checked_text(),
    }
    rows = [SecretCheck(name=name, value=value) for name, value in new.items()]
    SecretCheck.objects.bulk_create(rows, ignore_conflicts=True)
    return read_check_values()


def renew_check_value(sealed: str) -> None:
    """Seal the check value again if the sealing key has changed.

    The old key can be retired then.
    """
    if vault.read_key_id(sealed) != next(iter(vault.get_ciphers())):
        renewed = vault.encrypt_secret(CHECKED_TEXT, name_check_owner(FIELD_KEYS))
        SecretCheck.objects.filter(name=FIELD_KEYS, value=sealed).update(value=renewed)


def name_check_owner(name: str) -> str:
    return f"secret check {name}"


def digest_checked_text() -> str:
    return vault.make_digest("secret check", CHECKED_TEXT)


def fits_own_secrets(name: str, value: str) -> bool:
    if name == KEY_PEPPER:
        return value == digest_checked_text()
    return can_unseal(value, name_check_owner(name))


def can_unseal(sealed: str, owner: str) -> bool:
    try:
        vault.decrypt_secret(sealed, owner)
    except vault.VaultError:
        return False
    return True


def find_wrong_secrets() -> list[str]:
    """Return the secrets that do not fit the oldest tokens; none without tokens to judge by.

    A token that nothing renews still has the fingerprint of its secret. A few tokens that a wrong
    process has written, or that are damaged, do not count: most must fit.
    """
    rows = list(UpstreamToken.objects.exclude(sealed="").order_by("created_at", "pk")[:SAMPLE_SIZE])
    opened = [row for row in rows if can_unseal(row.sealed, str(row.pk))]
    never_renewed = [row for row in opened if not row.is_renewable]
    fitting = [row for row in never_renewed if fits_fingerprint(row)]
    wrong = []
    if len(opened) * 2 < len(rows):
        wrong.append(FIELD_KEYS)
    if len(fitting) * 2 < len(never_renewed):
        wrong.append(KEY_PEPPER)
    return wrong


def fits_fingerprint(row: UpstreamToken) -> bool:
    """Return whether the row's fingerprint is the one of its secret."""
    secret = vault.decrypt_secret(row.sealed, str(row.pk))
    return vault.fingerprint_secret(secret) == row.fingerprint


@transaction.atomic
def enable_readable_tokens() -> int:
    """Enable the tokens marked unreadable whose secrets can be opened again; return how many.

    Writes the rows.
    """
    rows: TokenQuerySet = UpstreamToken.objects.filter_unreadable()
    count = 0
    for row in rows.iterator(1_000):
        sealed_secrets = [sealed for sealed in (row.sealed, row.sealed_refresh) if sealed]
        if all(can_unseal(sealed, str(row.pk)) for sealed in sealed_secrets):
            count += rows.filter(pk=row.pk, sealed=row.sealed).reset_state()
    if count:
        logger.warning("%d tokens whose secrets could not be opened can be used again", count)
    return count
