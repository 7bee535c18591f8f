"""The origin of an error: this gateway, the upstream or the caller.

A usage record has the status, the HTTP status and the code of its error; `find_origin` reads them
in Python, and `render_origin` is the same question in SQL. Requests that were answered, that a
limit refused or whose caller left are no errors: their origin is an empty text.
"""

from collections.abc import Iterable, Iterator

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _

from api.models.usage_record import Status
from providers.exceptions import (
    CallerError,
    GatewayError,
    OwnError,
    PoolError,
    Rejected,
    TokenError,
    UpstreamError,
)


class Origin(TextChoices):
    """The party that caused an error."""

    OURS = "ours", _("this gateway")
    UPSTREAM = "upstream", _("the upstream")
    CALLER = "caller", _("the caller")


def list_classes(base: type[GatewayError]) -> Iterator[type[GatewayError]]:
    """Yield a class of errors and all that are derived from it."""
    yield base
    for derived in base.__subclasses__():
        yield from list_classes(derived)


def list_codes(*bases: type[GatewayError]) -> frozenset[str]:
    """Return the codes of these classes of errors and of those derived from them."""
    return frozenset(cls.code for base in bases for cls in list_classes(base) if cls.code)


# Codes that two classes share belong to the first that is named here: a pool without a usable
# token is the upstream's matter, a model that does not exist the caller's.
OWN_CODES = list_codes(OwnError)
UPSTREAM_CODES = (
    list_codes(PoolError, TokenError, UpstreamError) - list_codes(Rejected) - {"model_not_found"}
)
CALLER_CODES = list_codes(CallerError, Rejected) - OWN_CODES - UPSTREAM_CODES
FAILED_STATUSES = (Status.ERROR.value, Status.TRUNCATED.value)


def find_origin(status: str, http_status: int | None, error_code: str) -> str:
    """Return the origin of a request's error, or an empty text when it was none."""
    if status == Status.INTERRUPTED:
        return Origin.OURS.value
    if status not in FAILED_STATUSES:
        return ""
    if error_code in OWN_CODES:
        return Origin.OURS.value
    if error_code in UPSTREAM_CODES:
        return Origin.UPSTREAM.value
    if error_code in CALLER_CODES:
        return Origin.CALLER.value
    # a code that an upstream chose: its HTTP status tells
    is_of_caller = http_status is not None and 400 <= http_status < 500
    return Origin.CALLER.value if is_of_caller else Origin.UPSTREAM.value


def render_origin() -> str:
    """Return the SQL expression for the origin of a usage record's error."""
    return (
        f"CASE WHEN status = '{Status.INTERRUPTED.value}' THEN '{Origin.OURS.value}' "
        f"WHEN status NOT IN ({render_texts(FAILED_STATUSES)}) THEN '' "
        f"WHEN error_code IN ({render_texts(OWN_CODES)}) THEN '{Origin.OURS.value}' "
        f"WHEN error_code IN ({render_texts(UPSTREAM_CODES)}) THEN '{Origin.UPSTREAM.value}' "
        f"WHEN error_code IN ({render_texts(CALLER_CODES)}) THEN '{Origin.CALLER.value}' "
        f"WHEN http_status >= 400 AND http_status < 500 THEN '{Origin.CALLER.value}' "
        f"ELSE '{Origin.UPSTREAM.value}' END"
    )


def render_texts(texts: Iterable[str]) -> str:
    """Return names of this project's code as a list of SQL texts, always in the same order."""
    return ", ".join(f"'{text}'" for text in sorted(texts))
