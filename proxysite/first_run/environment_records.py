"""Remember which values of the environment were imported, so that none is imported twice.

Only keyed digests are stored. A row without a digest says that its variable was looked at when
there was nothing to import from it.
"""

from api.models import EnvironmentImport
from providers import vault


def make_value_digest(value: str) -> str:
    return vault.make_digest("environment", value)


def has_record(name: str) -> bool:
    """Return whether the variable was looked at before."""
    return EnvironmentImport.objects.filter(name=name).exists()


def was_imported(name: str, value: str) -> bool:
    """Return whether this value of the variable was imported before."""
    row = EnvironmentImport.objects.filter(name=name).first()
    return row is not None and make_value_digest(value) in row.digests


def record_value(name: str, value: str) -> None:
    """Write that this value, and none before it, is the imported one; "" stands for no value."""
    digests = [make_value_digest(value)] if value else []
    EnvironmentImport.objects.update_or_create(name=name, defaults={"digests": digests})


def record_further_value(name: str, value: str) -> None:
    """Write that this value was imported too."""
    row, _ = EnvironmentImport.objects.get_or_create(name=name)
    digest = make_value_digest(value)
    if digest not in row.digests:
        row.digests.append(digest)
        row.save(update_fields=["digests"])
