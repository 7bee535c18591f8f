"""Authentication: the credential of a request becomes a Caller, for lean views and DRF views.

With PASSTHROUGH_PROVIDER, a bearer that is no key of ours is taken as tokens of that provider,
separated by commas. They are used for this request and stored nowhere.
"""

from api.authentication.caller import Caller
from api.authentication.credentials import (
    BARE_KEY_HEADERS,
    BEARER_HEADER,
    INVALID_KEY_TEXT,
    has_credential,
    load_caller,
    read_credential,
)
from api.authentication.drf_authentication import KeyAuthentication, StaffAuthentication
from api.authentication.keyring import Keyring, read_changed_keys
from api.authentication.last_uses import record_last_uses

__all__ = [
    "BARE_KEY_HEADERS",
    "BEARER_HEADER",
    "INVALID_KEY_TEXT",
    "Caller",
    "KeyAuthentication",
    "Keyring",
    "StaffAuthentication",
    "has_credential",
    "load_caller",
    "read_changed_keys",
    "read_credential",
    "record_last_uses",
]
