"""The end users of an API key: the people behind the program that has the key.

OpenAI's fields for them are `safety_identifier` and, before it, `user`
(https://platform.openai.com/docs/api-reference/chat/create).
"""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

END_USER_FIELDS = ("safety_identifier", "user")
ID_BITS = 63  # of a column for whole numbers


def find_end_user_id(body: Mapping[str, Any], key_id: int) -> int | None:
    """Return the number of the end user whom a body names, or None when it names none.

    It is made of the key and the name, and does not tell the name.
    """
    for field in END_USER_FIELDS:
        name = body.get(field)
        if isinstance(name, str) and name:
            digest = blake2b(f"{key_id}:{name}".encode("utf-8", "replace"), digest_size=8).digest()
            return int.from_bytes(digest, "big") >> (64 - ID_BITS)
    return None
