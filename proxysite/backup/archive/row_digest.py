"""The count and digest of a table's rows, whatever their order."""

import hashlib

DIGEST_BYTES = 16
MODULUS = 1 << (8 * DIGEST_BYTES)


class RowDigest:
    """The number of rows, the sum of their digests, and their size."""

    __slots__ = ("_total", "byte_count", "row_count")

    def __init__(self) -> None:
        self.row_count = 0
        self.byte_count = 0
        self._total = 0

    def add_row(self, row: bytes) -> None:
        """Add the encoded form of one row."""
        digest = hashlib.blake2b(row, digest_size=DIGEST_BYTES).digest()
        self._total += int.from_bytes(digest, "big")
        self.row_count += 1
        self.byte_count += len(row)

    @property
    def hex_digest(self) -> str:
        return f"{self._total % MODULUS:0{2 * DIGEST_BYTES}x}"
